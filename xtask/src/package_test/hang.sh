# On the machine: with less patience than the unit's thirty seconds, which nobody wants to wait for here.
mkdir -p /run/systemd/system/gatehouse.service.d
printf '[Service]\nWatchdogSec=2\n' >/run/systemd/system/gatehouse.service.d/patience.conf
systemctl daemon-reload
systemctl restart gatehouse
pid=$(systemctl show --property MainPID --value gatehouse)
kill -STOP "$pid"
anew() { [ "$(systemctl show --property NRestarts --value gatehouse)" -ge 1 ] && systemctl --quiet is-active gatehouse; }
for _ in $(seq 300); do anew && break; sleep 0.1; done
anew
journalctl --unit gatehouse --lines 30 | grep 'Watchdog timeout'
curl --silent --fail --cacert /var/lib/gatehouse/certs/internal-ca.pem https://localhost/health/ready
rm -r /run/systemd/system/gatehouse.service.d
systemctl daemon-reload

# On the machine: with less patience than the units' thirty seconds, which nobody wants to wait for here.
for service in gatehouse nomation; do
    mkdir -p "/run/systemd/system/$service.service.d"
    printf '[Service]\nWatchdogSec=2\n' >"/run/systemd/system/$service.service.d/patience.conf"
done
systemctl daemon-reload
anew() { [ "$(systemctl show --property NRestarts --value "$1")" -ge 1 ] && systemctl --quiet is-active "$1"; }
for service in nomation gatehouse; do
    systemctl restart "$service"
    kill -STOP "$(systemctl show --property MainPID --value "$service")"
    for _ in $(seq 300); do anew "$service" && break; sleep 0.1; done
    anew "$service"
    journalctl --unit "$service" --lines 30 | grep 'Watchdog timeout'
done
curl --silent --fail --cacert /var/lib/gatehouse/certs/internal-ca.pem https://localhost/health/ready
rm -r /run/systemd/system/gatehouse.service.d /run/systemd/system/nomation.service.d
systemctl daemon-reload

# On the machine: a configuration with a fault is refused, and the one in use stays; one without is taken.
ask() { curl --silent --fail --cacert /var/lib/gatehouse/certs/internal-ca.pem "$@" https://localhost/health/ready; }
cp /etc/gatehouse/gatehouse.toml /root/right.toml
pid=$(systemctl show --property MainPID --value gatehouse)

echo 'headres = "api"' >>/etc/gatehouse/gatehouse.toml
not systemctl reload gatehouse
journalctl --unit gatehouse --lines 20 | grep 'headers'
ask

cp /root/right.toml /etc/gatehouse/gatehouse.toml
printf 'headers = "api"\n[headers.api]\npreset = "api"\n' >>/etc/gatehouse/gatehouse.toml
systemctl reload gatehouse
ask --head | grep "frame-ancestors 'none'"
[ "$(systemctl show --property MainPID --value gatehouse)" = "$pid" ]

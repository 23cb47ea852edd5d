# On the machine: records go to the new file, and the old one keeps its own.
ask() { curl --silent --fail --cacert /var/lib/gatehouse/certs/internal-ca.pem "https://localhost$1"; }
log=/var/log/gatehouse/access.log
written() { for _ in $(seq 100); do grep --quiet "$2" "$1" && return; sleep 0.1; done; return 1; }
ask '/health/ready?before'
written "$log" '?before'
logrotate --force /etc/logrotate.d/gatehouse
ask '/health'
written "$log" '"/health"'
not grep '?before' "$log"
grep --quiet '?before' "$log.1"

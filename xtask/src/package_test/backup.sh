# On the machine: the timer's service keeps fourteen backups, and the newest gives back what was stored.
curl --silent --fail --cacert /var/lib/gatehouse/certs/internal-ca.pem \
    --json '{"email":"drill@example.com","password":"three plain words"}' https://localhost/api/auth/register
systemctl enable --now nomation-backup.timer
systemctl list-timers --no-legend | grep nomation-backup.timer
folder=/var/lib/nomation/backups
mkdir -p "$folder"
for day in $(seq 10 24); do touch "$folder/2026-01-${day}T03-17-00Z"; done
chown -R nomation: "$folder"
# As the node exporter's package makes it.
metrics=/var/lib/prometheus/node-exporter
install --directory --mode=755 "$metrics"
systemctl start nomation-backup.service
grep '^backup_completed_timestamp_seconds [0-9]*$' "$metrics/backup.prom"
[ "$(stat --format=%a "$metrics/backup.prom")" = 644 ]
[ "$(find "$folder" -type f | wc -l)" = 14 ]
newest=$(find "$folder" -type f | sort | tail -1)
[ "$(stat --format='%U %a' "$newest")" = "nomation 600" ]
DATABASE_URL=sqlite:///root/restored.db nomation restore "$newest"
grep --quiet --text drill@example.com /root/restored.db

# The units for the stack of containers, which no package installs.
systemd-analyze verify /srv/gatehouse/deploy/systemd/gatehouse-backup.service /srv/gatehouse/deploy/systemd/gatehouse-backup.timer

# On the machine: the application on SQLite, the proxy with a certificate of its own CA and a token for its admin listener.
echo sqlite:///var/lib/nomation/nomation.db >/etc/nomation/secrets/database_url
head -c 48 /dev/urandom | base64 >/etc/nomation/secrets/jwt_secret
head -c 24 /dev/urandom | base64 >/etc/gatehouse/secrets/admin_token
cat >/etc/gatehouse/gatehouse.toml <<'CONFIGURATION'
[admin]
token = "${file:/run/credentials/gatehouse.service/secrets_admin_token}"

[log]
access = "/var/log/gatehouse/access.log"

[[site]]
hosts    = ["localhost"]
issuer   = "internal"
upstream = "http://127.0.0.1:3002"
CONFIGURATION
systemctl enable --now nomation gatehouse.socket gatehouse

ca=/var/lib/gatehouse/certs/internal-ca.pem
# Who is started answers.
curl --silent --fail --cacert "$ca" https://localhost/health/ready
curl --silent --fail --head --cacert "$ca" https://localhost/health/ready | grep --ignore-case strict-transport-security
[ "$(curl --silent --output /dev/null --write-out '%{redirect_url}' http://localhost/x)" = https://localhost/x ]

# Both run as themselves, and what is secret is in no argument, no environment, and no other user's reach.
token=$(cat /etc/gatehouse/secrets/admin_token)
for service in gatehouse nomation; do
    pid=$(systemctl show --property MainPID --value "$service")
    [ "$(stat --format=%U "/proc/$pid")" = "$service" ]
    not grep --fixed-strings --file="/etc/$service/secrets/$([ "$service" = gatehouse ] && echo admin_token || echo jwt_secret)" \
        "/proc/$pid/cmdline" "/proc/$pid/environ"
done
for file in /etc/gatehouse/secrets/admin_token /run/credentials/gatehouse.service/secrets_admin_token; do
    not setpriv --reuid nomation --regid nomation --clear-groups cat "$file"
done
metrics() { curl --silent --output /dev/null --write-out '%{http_code}' "$@" http://127.0.0.1:9180/metrics; }
[ "$(metrics)" = 401 ]
[ "$(metrics --header "Authorization: Bearer $token")" = 200 ]
gatehouse status
gatehouse check
journalctl --unit gatehouse --unit nomation | not grep --fixed-strings "$token"

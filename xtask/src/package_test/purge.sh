# On the machine: what is left is the certificates, the database, and nothing that runs.
apt-get purge --yes gatehouse nomation
left=$(find / -xdev \( -path /packages -o -path /srv -o -path /proc -o -path /sys \) -prune \
    -o \( -path '*gatehouse*' -o -path '*nomation*' \) -print | sort)
echo "$left"
[ -n "$(find /var/lib/gatehouse/certs -name internal-ca.key)" ]
[ -s /var/lib/nomation/nomation.db ]
not grep --invert-match --extended-regexp '^/var/lib/(gatehouse|nomation)(/|$)' <<<"$left"
not pgrep --list-full 'gatehouse|nomation'
systemctl list-units --all --no-legend | not grep --extended-regexp 'gatehouse|nomation'

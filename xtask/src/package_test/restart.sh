# On the machine, while somebody asks without a pause: three restarts, and the package once more, as an upgrade does it.
pid=$(systemctl show --property MainPID --value gatehouse)
for _ in 1 2 3; do systemctl restart gatehouse; done
apt-get install --yes --reinstall --no-install-recommends /packages/gatehouse_*.deb
[ "$(systemctl show --property MainPID --value gatehouse)" != "$pid" ]
systemctl is-active gatehouse

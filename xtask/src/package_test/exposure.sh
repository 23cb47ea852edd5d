# On the machine: what systemd thinks of the services as they run.
systemd-analyze security --no-pager gatehouse.service nomation.service
systemd-analyze security --no-pager --threshold=20 gatehouse.service >/dev/null
systemd-analyze security --no-pager --threshold=20 nomation.service >/dev/null

# On the machine: both packages, as DEPLOYMENT.md installs them.
apt-get install --yes --no-install-recommends /packages/*.deb
id gatehouse
id nomation
for folder in gatehouse nomation; do
    [ "$(stat --format='%U %a' "/etc/$folder/secrets")" = "root 700" ]
done
man --where gatehouse gatehouse-certs-renew nomation
for program in gatehouse nomation; do
    bash -n "/usr/share/bash-completion/completions/$program"
    test -s "/usr/share/fish/vendor_completions.d/$program.fish"
    test -s "/usr/share/zsh/vendor-completions/_$program"
done
for unit in gatehouse.service gatehouse.socket nomation.service; do
    [ "$(systemctl is-active "$unit")" = inactive ]
    [ "$(systemctl is-enabled "$unit")" = disabled ]
done

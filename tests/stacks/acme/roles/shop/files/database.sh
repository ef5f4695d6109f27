read -r password
psql --no-psqlrc --quiet --tuples-only --command "SELECT 1 FROM pg_roles WHERE rolname = 'shop'" | grep -q 1 && exit 0
psql --no-psqlrc --quiet --set "password=$password" <<'END'
CREATE ROLE shop LOGIN PASSWORD :'password';
CREATE DATABASE shop OWNER shop;
END
echo made

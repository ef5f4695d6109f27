<?php
require __DIR__ . '/database.php';
if (database()->query("SELECT to_regclass('orders')")->fetchColumn() === null) {
    database()->exec('CREATE TABLE orders (id serial PRIMARY KEY, customer text)');
    echo "migrated\n";
}

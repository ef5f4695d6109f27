<?php
function settings(): array
{
    return parse_ini_file('/etc/shop.ini');
}

function database(): PDO
{
    return new PDO('pgsql:host=127.0.0.1;dbname=shop', 'shop', settings()['password']);
}

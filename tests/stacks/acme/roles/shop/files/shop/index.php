<?php
require __DIR__ . '/database.php';
header('Content-Type: application/json');
$count = database()->query('SELECT count(*) FROM orders')->fetchColumn();
echo json_encode(['name' => settings()['name'], 'orders' => (int) $count]);

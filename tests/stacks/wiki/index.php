<?php
echo 'The wiki';

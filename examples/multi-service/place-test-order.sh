#!/bin/sh
# Orders a test article and waits until a worker has packed it.
set -eu
order=$(curl --fail --silent --request POST https://shop.example.com/api/orders --data article=test)
for _ in 1 2 3 4 5 6 7 8 9 10; do
  curl --fail --silent "https://shop.example.com/api/orders/$order" | grep -q packed && exit 0
  sleep 20
done
echo "order $order was not packed in time" >&2
exit 1

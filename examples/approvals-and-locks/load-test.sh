#!/bin/sh
# Five minutes of invoices against staging; fails when the slowest hundredth takes over a second.
set -eu
exec k6 run --duration 5m --vus 50 --summary-trend-stats "p(99)" load-test.js

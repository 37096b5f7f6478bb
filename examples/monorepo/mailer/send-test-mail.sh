#!/bin/sh
# Lets the mailer of namespace $1 write to the test account.
set -eu
kubectl --namespace "$1" exec deploy/mailer -- mailer send --to test@example.com --template hello

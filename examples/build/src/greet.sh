#!/bin/sh
# Greets whoever is named.
printf 'Hello, %s!\n' "${1:-world}"

"""What holds for every run, whatever it carries out; pyinfra reads it before the inventory."""

from kvmhost import failures

failures.watch()

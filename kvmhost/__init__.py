"""What pyinfra lacks for CloudStack KVM hosts: settings, network model, facts and operations."""

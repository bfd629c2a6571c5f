"""What commands do with events, users and items: import, check, describe, synthesise, build histories."""

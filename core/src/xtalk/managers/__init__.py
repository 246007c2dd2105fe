"""What lives in a session: each manager owns one thing and obeys the commands for it."""

"""Writers that do not stop while releases change hands, and what they must find at the end."""

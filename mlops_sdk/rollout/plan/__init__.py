"""The plan of a deploy or a rollback: its steps and facts as plain data, told and kept. Pure, and it must stay so."""

"""Operations that are killed, stopped or left by their server before each of their statements."""

"""What comes from outside: Parquet files, their columns and ids, checked row by row, and what is refused."""

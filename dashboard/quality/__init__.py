"""What validation left out of reads, and its data docs, as the pages show them."""

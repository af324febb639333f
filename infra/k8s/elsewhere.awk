# Leaves out what CloudNativePG would make a Postgres of: every object with the label quantstream.io/postgres: operator. For `render`.
# Nor is anybody then in need of it.
function flush() { if (document != "" && !operators) { printf "%s%s", (written ? "---\n" : ""), document; written = 1 } document = ""; operators = 0 }
/^---$/ { flush(); next }
/^ +quantstream\.io\/postgres: operator$/ { operators = 1 }
/quantstream\.io\/needs-databases:/ { next }
{ document = document $0 "\n" }
END { flush() }

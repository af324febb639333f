# What was answered: JSON to lines of facts and findings.
tokens() { grep -oE '"([^"\\]|\\.)*"|[][{}:,]|[^][{}:,"[:space:]]+|[^[:space:]]' || true; }

items() { # file program [awk options]: run the program over lists of objects, one for each namespace that answered
  json "$1" "$AWK_ITEMS$2" -v "DOCS=$LISTED" -v "HOME=$HOME_SPACE" "${@:3}"
}

json() { # file program [awk options]: run the program over a JSON file
  local file=$1 program=$2
  shift 2
  tokens <"$file" | awk -v "LIMITS=$LIMITS" -v "now=$(now)" "$@" "$AWK_WORDS$AWK_JSON$program"
}

now() { if [ -n "$NOW" ]; then echo "$NOW"; else date +%s; fi; }


finding() { # severity check object reason text
  local text=${5//[[:cntrl:]]/ }
  printf '%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "${text:0:400}" >>"$WORK/findings"
}

unknown() { finding unknown "$1" "$2" "$3" "$4"; }

# Sorts what an awk program printed: F lines are findings, all others facts.
sort_out() { # file facts-file
  awk -F '\t' -v facts="$2" '$1 == "F" { print substr($0, 3); next } { print > facts }' "$1" >>"$WORK/findings"
  [ -e "$2" ] || : >"$2"
}

# What the stages' own numbers come to, from the facts of metrics.awk.
function symbol_of(labels) { gsub(/.*symbol="|".*/, "", labels); return labels }
function shard_of(labels) { return match(labels, /shard="[^"]*"/) ? substr(labels, RSTART + 7, RLENGTH - 8) : "1/1" }
# Pods of one shard follow the same symbols, so of them the worst counts; shards follow different ones, so they add up.
function in_all(table,   pod, part, worst, sum) {
  for (pod in table) { part = shard[pod]; if (table[pod] > worst[part]) worst[part] = table[pod] }
  for (part in worst) sum += worst[part]
  return sum + 0 }
function parts(   n, part) {
  for (part in follows) n++
  if ("ingest" in asked && n && shards > n) finding("critical", "shards", "ingest", "Missing", "the symbols are followed in " shards " parts, and only " n (n == 1 ? " is" : " are") " followed by a pod that answers")
  if (n > shards && shards) finding("critical", "shards", "ingest", "Disagree", "pods follow " n " parts of the symbols, and there should be " shards) }
{ asked[$2] = 1 }
$4 == "lag_records" { lag[$2] += $6; has_lag[$2] = 1 }
$4 == "dead_letters_total" { dead[$2] += $6 }
$4 == "proved_at_seconds" && $2 == "sink" { has_proof = 1; if ($6 > proved) proved = $6 + 0 }
$4 == "unbalanced_symbols" { off[$2] += $6 }
$4 == "model_version" { models[$2]++ }
$4 == "started_at_seconds" && $6 > started[$2] { started[$2] = $6 + 0 }
$4 == "candle_closed_at_seconds" && $2 == "aggregate" { symbol = symbol_of($5); if ($6 > closed[symbol]) closed[symbol] = $6 + 0 }
$2 != "ingest" { next }
$4 == "market_time_seconds" { shard[$3] = shard_of($5); follows[shard[$3]] = 1 }
$4 == "shards" && $6 > shards { shards = $6 + 0 }
$4 == "open_gaps" { gaps[$3] += $6; has_gaps = 1 }
$4 == "mute_streams" { mute[$3] += $6 }
$4 == "unproven_symbols" { unproven[$3] += $6 }
$4 == "symbols_set_aside" { aside[$3] += $6 }
$4 == "market_time_seconds" && $6 > market { market = $6 + 0 }
$4 == "symbol_has_trades" { symbol = symbol_of($5); if ($6 >= traded[symbol]) traded[symbol] = $6 + 0; followed++ }
END {
  n = split(EXPECT, names, ",")
  for (i = 1; i <= n; i++) if (names[i] in asked) stage(names[i])
  parts(); gaps_now = in_all(gaps)
  if (has_gaps) finding(worst_of(gaps_now, "gaps-warning", "gaps-critical"), "gaps", "ingest", "Open", plural(gaps_now, "id gap") (gaps_now == 1 ? " is open" : " are open"))
  if (has_proof && proved) finding(worst_of(now - proved, "proof-warning", "proof-critical"), "proof", "candles", "Age", "every symbol was compared with the exchange within " span(now - proved))
  streams(in_all(mute), in_all(unproven), in_all(aside))
  if ("ingest" in asked && "aggregate" in asked) { candles(); without_candles() } }
function stage(name) {
  if (name != "ingest" && has_lag[name]) finding(worst_of(lag[name], "lag-warning", "lag-critical"), "lag", name, "Behind", plural(lag[name], "record") " behind the end of its topics")
  if (dead[name] > 0) finding("ok", "dead letters", name, "PutAside", plural(dead[name], "record") " nobody could parse since it started; see market.dead.v1")
  if (off[name] > 0) finding("critical", "balance", name, "Off", "the records of " plural(off[name], "symbol") " do not add up: some were lost, doubled or made up")
  if (name == "score" && !models[name]) finding("critical", "models", name, "NoChampion", "no champion is in service: nothing is scored")
  if (name == "detect" && !models[name]) finding("warning", "models", name, "NoChampion", "no champion is in service: no trade is judged") }
function streams(mute, unproven, aside) {
  if (mute > 0) finding("critical", "streams", "ingest", "Mute", plural(mute, "stream") (mute == 1 ? " brings" : " bring") " nothing though the exchange has trades; REST fills in")
  if (unproven > 0) finding("critical", "streams", "ingest", "Unproven", "the silence of " plural(unproven, "symbol") " is not proven: REST does not say whether they are quiet, their windows stay open")
  if (aside > 0) finding("warning", "symbols", "ingest", "SetAside", plural(aside, "symbol") (aside == 1 ? " is" : " are") " unknown to the exchange and set aside") }
function candles(   symbol, age, worst, which, n) {  # of those that are followed: one that was set aside gets no more
  for (symbol in closed) if (!followed || symbol in traded) { n++; age = market - closed[symbol]; if (age > worst || which == "") { worst = age; which = symbol } }
  if (!market) finding("warning", "candles", "all", "NoMarketTime", "the exchange has not told its time yet")
  else if (!n) finding(up_for() > limit["candle-critical"] ? "critical" : "warning", "candles", "all", "NoneYet", "aggregate has closed no candle since it started" (up_for() ? ", " span(up_for()) " ago" : ""))
  else finding(worst_of(worst, "candle-warning", "candle-critical"), "candles", which, "Age", "the oldest last candle of " plural(n, "symbol") " ended " span(worst) " ago by the market" "\047" "s clock") }
function up_for() { return started["aggregate"] ? now - (started["ingest"] > started["aggregate"] ? started["ingest"] : started["aggregate"]) : 0 }
# A symbol that has trades must have candles once both stages have run for longer than a candle may be old.
function without_candles(   symbol, n, quiet, which, silent) {
  if (up_for() <= limit["candle-warning"]) return
  for (symbol in traded) if (!(symbol in closed)) { if (traded[symbol]) { n++; which = which (n <= 5 ? " " symbol : "") } else { quiet++; silent = silent (quiet <= 5 ? " " symbol : "") } }
  if (n) finding(up_for() > limit["candle-critical"] ? "critical" : "warning", "candles", "missing", "NoCandles", plural(n, "symbol") (n == 1 ? " has" : " have") " trades but no candle since aggregate started " span(up_for()) " ago:" which (n > 5 ? " …" : ""))
  if (quiet) finding("warning", "candles", "untraded", "NoTrades", plural(quiet, "symbol") (quiet == 1 ? " is" : " are") " followed and no trade has ever come:" silent (quiet > 5 ? " …" : "")) }

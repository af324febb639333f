// One candlestick chart for as long as the page lives: only changed rows are drawn, and where Streamlit builds the
// component's element anew the chart moves into it with its zoom.
// A row is [time, open, high, low, close, volume, state, vwap, vwap24h, upper, middle, lower]; see charts.py.

const UP = "#26a69a";
const DOWN = "#ef5350";
const AMBER = "#e3a008";
const LINES = [
  { name: "VWAP", index: 7, color: "#f0b90b", width: 2, overlay: "VWAP" },
  { name: "VWAP 24h", index: 8, color: "#c678dd", width: 1, overlay: "VWAP 24h" },
  { name: "BB upper", index: 9, color: "#4c9affaa", width: 1, overlay: "Bollinger" },
  { name: "BB middle", index: 10, color: "#4c9aff66", width: 1, dashed: true, overlay: "Bollinger" },
  { name: "BB lower", index: 11, color: "#4c9affaa", width: 1, overlay: "Bollinger" },
];
const SESSION = 7; // index of the session's VWAP
const INCOMPLETE = 1;
const OPEN = 2;
const MANY = 60; // more changed rows than this are set at once
const SHOWN_AT_FIRST = 140; // bars
const page = (window.quantstream ??= { created: 0, updates: 0, view: null }); // for a look from the console, and tests

export default function ({ parentElement, data, setTriggerValue }) {
  const element = parentElement.querySelector(".qs-chart");
  draw(element, data, setTriggerValue, 100);
}

function draw(element, data, setTriggerValue, tries) {
  if (!window.LightweightCharts) {
    if (tries > 0 && element.isConnected) setTimeout(() => draw(element, data, setTriggerValue, tries - 1), 50);
    return;
  }
  const view = (page.view ??= new View());
  if (view.stage.parentElement !== element) element.replaceChildren(view.stage);
  view.take(data, () => setTriggerValue("resync", Date.now()));
  page.updates += 1;
}

function made(name) {
  const element = document.createElement("div");
  element.className = name;
  return element;
}

class View {
  constructor() {
    const lib = window.LightweightCharts;
    page.created += 1;
    this.legend = made("qs-legend");
    this.stage = made("qs-stage");
    this.stage.append(this.legend);
    this.rows = new Map(); // time → row
    this.id = "";
    this.seq = 0;
    this.chart = lib.createChart(this.stage, {
      autoSize: true,
      layout: { background: { color: "transparent" }, attributionLogo: true, panes: { enableResize: true } },
      timeScale: { timeVisible: true, secondsVisible: false, rightOffset: 2, minBarSpacing: 1.5 },
      crosshair: { mode: lib.CrosshairMode.Normal },
      rightPriceScale: { scaleMargins: { top: 0.12, bottom: 0.06 } },
    });
    this.lines = LINES.map((line) =>
      this.chart.addSeries(lib.LineSeries, {
        color: line.color,
        lineWidth: line.width,
        lineStyle: line.dashed ? lib.LineStyle.Dashed : lib.LineStyle.Solid,
        priceLineVisible: false,
        lastValueVisible: false,
        crosshairMarkerVisible: false,
      }),
    );
    this.candles = this.chart.addSeries(lib.CandlestickSeries, {
      upColor: UP, downColor: DOWN, wickUpColor: UP, wickDownColor: DOWN, borderUpColor: UP, borderDownColor: DOWN,
    });
    this.median = this.chart.addSeries(lib.LineSeries, {
      color: "#58d5c9", lineWidth: 2, lineStyle: lib.LineStyle.Dotted,
      priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false,
    });
    this.fan = new Fan(this.chart, this.median);
    this.median.attachPrimitive(this.fan);
    this.volume = this.chart.addSeries(
      lib.HistogramSeries,
      { priceFormat: { type: "volume" }, priceLineVisible: false, lastValueVisible: false },
      1,
    );
    const panes = this.chart.panes();
    panes[0].setStretchFactor(0.82);
    panes[1].setStretchFactor(0.18);
    this.markers = lib.createSeriesMarkers(this.candles, []);
    for (const touch of ["wheel", "pointerdown"]) this.stage.addEventListener(touch, () => (this.fit = false), true);
    this.chart.subscribeCrosshairMove((move) => this.describe(move.time));
  }

  take(data, resync) {
    this.theme();
    const known = this.id === data.id && this.seq >= data.since;
    if (!known && data.since > 0) {
      if (this.asked !== data.id) resync();
      this.asked = data.id;
      return;
    }
    if (this.id !== data.id) this.begin(data);
    const changed = data.rows.filter((row) => String(this.rows.get(row[0])) !== String(row));
    this.seq = data.seq;
    this.place(changed);
    this.overlays(data.overlays);
    this.forecast(data.fan);
    this.mark(data.markers);
    this.describe(this.hovered);
    if (this.fit) this.showNewest();
  }

  // A new life of the data: of another symbol, or of the same one after the page was built anew.
  begin(data) {
    this.fit = this.symbol !== data.symbol || this.interval !== data.interval;
    this.id = data.id;
    this.asked = "";
    this.symbol = data.symbol;
    this.interval = data.interval;
    this.decimals = data.decimals;
    this.step = data.step;
    this.rows.clear();
    this.fresh = true;
    const priceFormat = { type: "price", precision: data.decimals, minMove: 10 ** -data.decimals };
    for (const series of [this.candles, this.median, ...this.lines]) series.applyOptions({ priceFormat });
  }

  place(changed) {
    const newest = this.newest()?.[0] ?? 0;
    for (const row of changed) this.rows.set(row[0], row);
    if (this.fresh || changed.length > MANY) {
      this.fresh = false;
      const rows = [...this.rows.values()].sort((a, b) => a[0] - b[0]);
      this.rows = new Map(rows.map((row) => [row[0], row]));
      this.candles.setData(rows.map(bar));
      this.volume.setData(rows.map(column));
      this.lines.forEach((line, i) => line.setData(rows.map((row) => point(row, LINES[i].index, this.step))));
      return;
    }
    for (const row of changed) {
      const isOld = row[0] < newest;
      this.candles.update(bar(row), isOld);
      this.volume.update(column(row), isOld);
      this.lines.forEach((line, i) => line.update(point(row, LINES[i].index, this.step), isOld));
    }
  }

  overlays(chosen) {
    const text = chosen.join();
    if (text === this.chosen) return;
    this.chosen = text;
    this.lines.forEach((line, i) => line.applyOptions({ visible: chosen.includes(LINES[i].overlay) }));
    this.median.applyOptions({ visible: chosen.includes("Forecast") });
    this.fan.isVisible = chosen.includes("Forecast");
    this.anomaliesShown = chosen.includes("Anomalies");
    this.marked = null;
  }

  forecast(rows) {
    const text = JSON.stringify(rows);
    if (text === this.forecasted) return;
    this.forecasted = text;
    this.fan.rows = rows;
    const middle = rows.length ? (rows[0].length - 1) >> 1 : 0;
    this.median.setData(rows.map((row) => ({ time: row[0], value: row[1 + middle] })));
  }

  mark(found) {
    const text = JSON.stringify(found);
    if (text === this.marked) return;
    this.marked = text;
    const shown = this.anomaliesShown ? found.filter((marker) => this.rows.has(marker.time)) : [];
    this.markers.setMarkers(
      shown.map(({ time, text }) => ({ time, text, position: "aboveBar", shape: "arrowDown", color: AMBER, size: 0.9 })),
    );
  }

  newest() {
    let last = null;
    for (const row of this.rows.values()) if (!last || row[0] > last[0]) last = row;
    return last;
  }

  showNewest() {
    if (!this.rows.size) return;
    this.fit = this.rows.size < SHOWN_AT_FIRST || !this.fan.rows.length; // history or the first score may still come
    const end = this.rows.size + Math.max(0, this.fan.rows.length - 1) + 1;
    this.chart.timeScale().setVisibleLogicalRange({ from: end - SHOWN_AT_FIRST, to: end });
    this.candles.priceScale().applyOptions({ autoScale: true });
  }

  describe(time) {
    this.hovered = time;
    const row = this.rows.get(time) ?? this.newest();
    if (!row) {
      this.legend.textContent = `${this.symbol} · ${this.interval} · waiting for the first candle`;
      return;
    }
    const price = (value) => (value == null ? "–" : value.toLocaleString("en-US", fixed(this.decimals)));
    const color = row[4] >= row[1] ? UP : DOWN;
    const values = ["O", "H", "L", "C"].map((name, i) => `<span class="mute">${name}</span> ${price(row[1 + i])}`);
    const volume = row[5].toLocaleString("en-US", { notation: "compact", maximumFractionDigits: 2 });
    const chosen = (this.chosen ?? "").split(",");
    const extra = [
      chosen.includes("VWAP") ? `<span style="color:#f0b90b">VWAP ${price(row[7])}</span>` : "",
      chosen.includes("VWAP 24h") ? `<span style="color:#c678dd">VWAP 24h ${price(row[8])}</span>` : "",
      chosen.includes("Bollinger")
        ? `<span style="color:#4c9aff">BB(20, 2σ) ${price(row[11])} ${price(row[10])} ${price(row[9])}</span>`
        : "",
    ].filter(Boolean);
    const note = { [INCOMPLETE]: "incomplete: trades are missing", [OPEN]: "building" }[row[6]];
    this.legend.innerHTML =
      `<b>${this.symbol}</b> <span class="mute">· ${this.interval} · UTC</span>` +
      (note ? ` <span class="${row[6] === INCOMPLETE ? "note" : "mute"}">· ${note}</span>` : "") +
      `<br><span style="color:${color}">${values.join("  ")}</span>  <span class="mute">Vol</span> ${volume}` +
      (extra.length ? `<br>${extra.join("  ")}` : "");
  }

  theme() {
    const style = getComputedStyle(this.stage);
    const text = style.getPropertyValue("--st-text-color").trim() || "#8b949e";
    const border = style.getPropertyValue("--st-border-color").trim() || "#8884";
    if (this.themed === text + border) return;
    this.themed = text + border;
    this.chart.applyOptions({
      layout: { textColor: text, panes: { separatorColor: border } },
      grid: { vertLines: { color: "#8881" }, horzLines: { color: "#8882" } },
      rightPriceScale: { borderColor: border },
      timeScale: { borderColor: border },
    });
  }
}

// The forecast's quantiles as bands, the outermost palest; drawn behind the candles.
class Fan {
  constructor(chart, series) {
    this.chart = chart;
    this.series = series;
    this.rows = []; // [time, lowest quantile … highest quantile]
    this.isVisible = true;
  }
  attached({ requestUpdate }) {
    this.requestUpdate = requestUpdate;
  }
  paneViews() {
    return [{ zOrder: () => "bottom", renderer: () => ({ draw: (target) => this.draw(target) }) }];
  }
  autoscaleInfo(from, to) {
    if (!this.isVisible || !this.rows.length) return null;
    const time = this.chart.timeScale();
    const seen = this.rows.filter((row) => {
      const at = time.timeToIndex(row[0], false);
      return at !== null && at >= from && at <= to;
    });
    if (!seen.length) return null;
    return {
      priceRange: {
        minValue: Math.min(...seen.map((row) => row[1])),
        maxValue: Math.max(...seen.map((row) => row[row.length - 1])),
      },
    };
  }
  draw(target) {
    if (!this.isVisible || this.rows.length < 2) return;
    const time = this.chart.timeScale();
    const xs = this.rows.map((row) => time.timeToCoordinate(row[0]));
    if (xs.some((x) => x === null)) return;
    const count = this.rows[0].length - 1;
    target.useMediaCoordinateSpace(({ context }) => {
      for (let low = 0; low < count >> 1; low += 1) {
        const y = (row, i) => this.series.priceToCoordinate(row[1 + i]);
        context.beginPath();
        this.rows.forEach((row, i) => context.lineTo(xs[i], y(row, low)));
        for (let i = this.rows.length - 1; i >= 0; i -= 1) context.lineTo(xs[i], y(this.rows[i], count - 1 - low));
        context.closePath();
        context.fillStyle = "#58d5c92e";
        context.fill();
      }
    });
  }
}

function bar([time, open, high, low, close, , state]) {
  const color = close >= open ? UP : DOWN;
  const shade = { [INCOMPLETE]: { color: `${color}40`, borderColor: AMBER, wickColor: AMBER }, [OPEN]: { color: `${color}80` } };
  return { time, open, high, low, close, ...shade[state] };
}

function column([time, open, , , close, volume]) {
  return { time, value: volume, color: close >= open ? `${UP}80` : `${DOWN}80` };
}

function point(row, index, step) {
  if (row[index] == null) return { time: row[0] };
  const ends = index === SESSION && (row[0] + step) % 86400 === 0; // no line from one session's average to the next one's
  return { time: row[0], value: row[index], ...(ends && { color: "transparent" }) };
}

function fixed(decimals) {
  return { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
}

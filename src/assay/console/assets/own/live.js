// Live monitoring: one document a second, shown by changing only what changed.
"use strict";
(() => {
  const { plain, release, number, percent, money, moneyShort, utc, element, text, empty, isNumber } = assay;
  const BADGES = { approve: "green", challenge: "yellow", review: "orange", decline: "red" };

  const sum = (...values) => values.reduce((total, value) => total + (value || 0), 0);
  const unknown = (d) => d.error && !d.stream_ms;
  const last = (values) => (values || []).filter(isNumber).at(-1);

  function totals(d) {
    const t = d.totals || {};
    const flagged = sum(t.challenge, t.review, t.decline);
    text("kpi-payments", number(t.payments));
    const now = d.scorer?.up === true && d.worker?.up !== false; // else the last figures are old
    const rate = now && last(d.latency?.per_s);
    text("kpi-rate", isNumber(rate) ? `${number(rate, rate < 10 ? 1 : 0)} a second now` : "");
    text("kpi-flagged", t.payments ? percent(flagged / t.payments, 2) : "–");
    text("kpi-flagged-more", !t.payments ? "" : `${number(t.decline)} declined, ${number(t.review)} in review`);
    text("kpi-approved", moneyShort(t.approved_ref, d.currency));
    text("kpi-approved-more", t.payments ? `${number(t.approve)} payments` : "");
    text("kpi-stopped", moneyShort(t.stopped_ref, d.currency));
    const all = sum(t.approved_ref, t.stopped_ref);
    text("kpi-stopped-more", all ? `${percent(t.stopped_ref / all, 2)} of all money` : "");
    text("kpi-fraud", number(t.reported_fraud));
    text("kpi-fraud-more", t.payments && isNumber(t.reported_fraud) ? `${percent(t.reported_fraud / t.payments, 2)} of payments` : "");
    const p99 = now && last(d.latency?.p99_ms), p50 = now && last(d.latency?.p50_ms);
    text("kpi-p99", isNumber(p99) ? `${number(p99, 1)} ms` : "–");
    text("kpi-p99-more", isNumber(p50) ? `median ${number(p50, 1)} ms` : "");
    text("stream-time", utc(d.stream_ms));
  }

  function charts(d) {
    const s = d.series || {}, ms = s.bucket_ms || [], l = d.latency || {};
    const { base, bars, line, draw } = assay;
    const get = (name) => s[name] || [];
    const count = { format: (v) => number(v) };
    draw("chart-volume", (c) => ({ ...base(ms, count), series: [
      bars("approve", get("approve"), c.approve), bars("challenge", get("challenge"), c.challenge),
      bars("review", get("review"), c.review), bars("decline", get("decline"), c.decline)] }));
    draw("chart-flagged", (c) => ({ ...base(ms, count), series: [
      bars("challenge", get("challenge"), c.challenge), bars("review", get("review"), c.review), bars("decline", get("decline"), c.decline)] }));
    const share = { format: (v) => percent(v, 2), axis: (v) => percent(v, v < 0.05 ? 1 : 0) };
    draw("chart-rates", (c) => ({ ...base(ms, share), series: [line("reported fraud", get("fraud_rate"), c.red), line("mean score", get("mean_score"), c.blue)] }));
    const major = (values) => values.map((v) => assay.major(v, d.currency));
    const cash = { format: (v) => `${plain(d.currency)} ${number(v, 0)}` };
    draw("chart-money", (c) => ({ ...base(ms, cash), series: [bars("approved", major(get("approved_ref")), c.approve), bars("stopped", major(get("stopped_ref")), c.green)] }));
    draw("chart-latency", (c) => ({ ...base(l.at_ms || [], { format: (v) => `${number(v, 1)} ms` }), series: [line("p50", l.p50_ms || [], c.blue), line("p99", l.p99_ms || [], c.purple)] }));
  }

  const cell = (className, content) => {
    const made = element("td", className);
    made.append(content);
    return made;
  };

  function decision(row) {
    const tr = element("tr");
    const score = element("span", "nums");
    if (isNumber(row.score)) {
      const bar = element("progress", row.score >= 0.5 ? "high" : "");
      bar.max = 1;
      bar.value = row.score;
      bar.setAttribute("aria-label", "score");
      score.append(bar, number(row.score, 3));
    } else score.append("–");
    const badge = element("span", `badge bg-${BADGES[row.action] || "secondary"}-lt`, plain(row.action));
    const reasons = (row.reasons || []).map((reason) => plain(typeof reason === "object" ? reason?.text || reason?.code : reason));
    const merchant = element("bdi", "clip", plain(row.merchant));
    merchant.title = plain(row.merchant);
    const why = element("span", "clip", reasons.join(" · ") || "–");
    why.title = reasons.join("\n");
    const when = element("span", "", utc(row.event_ms, 11));
    when.title = `${utc(row.event_ms)} UTC`;
    const action = element("span", "", "");
    action.append(badge);
    if (row.mode && row.mode !== "full") action.append(" ", element("span", "badge bg-secondary-lt", plain(row.mode)));
    tr.append(cell("nums", when), cell("merchant", merchant), cell("text-end nums", money(row.amount_minor, row.currency)),
      cell("", action), cell("", score), cell("reasons", why), cell("text-secondary", release(row.model)));
    return tr;
  }

  const notKnown = () => empty("Not known now", "What the page says above must be put right first.");

  let shown = "";
  function recent(d) {
    const rows = d.recent || [];
    const now = rows.map((row) => row.decision ?? row.transaction_id).join("\n") || `none ${Boolean(unknown(d))}`;
    if (now === shown) return;
    shown = now;
    const body = document.getElementById("recent");
    if (rows.length) body.replaceChildren(...rows.map(decision));
    else {
      const place = cell("", unknown(d) ? notKnown() : empty("No decision yet", "Send payments to the scorer: POST /v1/decisions, or watch the demo with make demo."));
      place.colSpan = 7;
      const tr = element("tr");
      tr.append(place);
      body.replaceChildren(tr);
    }
  }

  function list(id, d, items, make, title, hint) {
    const target = document.getElementById(id);
    const key = JSON.stringify(items) + (unknown(d) ? "?" : "");
    if (target.dataset.key === String(key.length) + key.slice(0, 2000)) return;
    target.dataset.key = String(key.length) + key.slice(0, 2000);
    if (!items.length) return target.replaceChildren(unknown(d) ? notKnown() : empty(title, hint));
    const ul = element("ul", "items");
    ul.append(...items.map(make));
    target.replaceChildren(ul);
  }

  function alerts(d) {
    const rows = d.alerts || [], open = rows.filter((row) => !row.closed_ms);
    text("alerts-count", rows.length ? `${open.length} open` : "");
    list("alerts", d, rows, (row) => {
      const li = element("li", row.closed_ms ? "closed" : "");
      li.append(element("span", `badge bg-${row.closed_ms ? "secondary" : "red"}-lt`, row.closed_ms ? "closed" : "open"), " ", element("strong", "", plain(row.monitor).replaceAll("_", " ")),
        element("div", "", plain(row.message)), element("small", "nums", row.model ? `${release(row.model)}, stream time ${utc(row.stream_ms, 0, 16)} UTC` : `the system itself, since ${utc(row.opened_ms, 0, 16)} UTC`));
      return li;
    }, "No alert", "Monitors compare live traffic with what the model was trained on, and tell here when it differs.");
  }

  function findings(d) {
    list("findings", d, (d.findings || []).slice(0, 8), (row) => {
      const li = element("li", `finding${row.value > row.threshold ? " over" : ""}`);
      const name = element("span", "", plain(row.subject));
      name.append(element("small", "", plain(row.monitor).replaceAll("_", " ")));
      const value = element("span", "nums");
      value.append(element("b", "", number(row.value, 3)), ` / ${number(row.threshold, 2)}`);
      li.append(name, value);
      return li;
    }, "Nothing measured yet", "Drift is measured once enough live traffic has come.");
  }

  function journal(d) {
    const j = d.journal || {}, out = [];
    if (j.state === "mismatch") out.push("Feature state wrong");
    else if (j.state === "ok" || j.state === "behind") out.push(j.reason ? `Feature state not compared: ${plain(j.reason)}` : `Feature state compared: ${number(j.checked_rows)} rows, ${number(j.checks)} pieces, all equal`);
    else if (j.state) out.push(`Feature state not kept: ${plain(j.reason)}`);
    if (j.snapshot) out.push(`snapshot of ${utc(j.snapshot.at_ms, 11)} UTC`);
    text("journal-state", out.join(" · "));
  }

  function labels(d) {
    const rows = Object.entries(d.labels || {});
    document.getElementById("labels").replaceChildren(...rows.flatMap(([name, count]) => [element("dt", "", plain(name)), element("dd", "", number(count))]));
  }

  function notices(d, trouble) {
    const out = [];
    const add = (colour, title, message) => {
      const box = element("div", `alert alert-${colour}`), inside = element("div");
      inside.append(element("strong", "", title), " ", message);
      box.append(inside);
      out.push(box);
    };
    if (trouble) add("danger", "This cannot be refreshed now.", `${plain(trouble)} What you see is what was known before.`);
    if (d.error) add("danger", "Some of this cannot be shown.", plain(d.error));
    if (!d.error && !trouble && !d.totals?.payments && !(d.recent || []).length) add("info", "No data yet.", "Start everything with assay up and send payments, or watch the demo with make demo. Figures appear by themselves.");
    const key = out.map((box) => box.textContent).join("\n"), target = document.getElementById("notices");
    if (target.dataset.key !== key) {
      target.dataset.key = key;
      target.replaceChildren(...out);
    }
  }

  let current = assay.block("document") || {};
  function show(d, trouble) {
    notices(d, trouble);
    for (const part of [totals, charts, recent, alerts, findings, journal, labels]) part(d);
  }

  function follow() {
    const state = document.getElementById("link-state");
    const say = (className, words) => {
      state.className = `link-state ${className}`;
      if (state.textContent !== words) state.textContent = words;
    };
    const trouble = (message) => {
      say("off", "waiting");
      notices(current, message);
    };
    let source = null;
    const stop = () => {
      source?.close();
      source = null;
    };
    function start() {
      if (source) return;
      source = new EventSource(state.dataset.events);
      source.addEventListener("live", (event) => {
        const next = JSON.parse(event.data);
        if (unknown(next) && current.stream_ms) return trouble(next.error); // nothing could be read
        current = next;
        say(...(unknown(next) ? ["off", "waiting"] : ["on", "live"]));
        show(current);
      });
      source.addEventListener("trouble", (event) => trouble(JSON.parse(event.data).error));
      source.addEventListener("error", () => {
        say("off", source?.readyState === EventSource.CLOSED ? "disconnected: reload the page" : "reconnecting");
      });
    }
    // A page that nobody sees costs the console nothing.
    document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
    addEventListener("pagehide", stop);
    addEventListener("pageshow", start);
    if (!document.hidden) start();
  }

  show(current);
  follow();
})();

// Cameras: `#/cameras/seam`: the newest picture with the parts that look wrong, those before it, its score, and what people say of an alarm.

import { picture } from "/static/api.js";
import { Keyed, ago, el, make, number, set, stamp, text } from "/static/dom.js";
import { strip } from "/static/plot.js";

const EVERY_MS = 2000;
const SHOWN = 24;
const NS = "http://www.w3.org/2000/svg";
const VERDICTS = ["false", "true", "planned"];

export const words = {
  en: {
    cameras: "Cameras", no_cameras: "No camera is configured.", no_picture: "No picture yet.", show_map: "Show the map", show_boxes: "Show the boxes", pictures_before: "Pictures", picture_of: "Picture of {time}", part_of: "part {part}",
    over_limit: "over the limit", in_order: "in order", not_judged_yet: "not judged", score_is: "Score {score}, limit {limit}", region_is: "Place {n}: {share} % of what is above the limit, at {x} % from the left and {y} % from the top",
    every: "{n} a second", last_at: "last {time} ago", dropped_n: "{n} dropped", model_is: "Model {model} {version}", no_model_yet: "No model judges its pictures.", learns_from: "Learning: {rows} of {wanted} good pictures.", waits_for: "It waits: {reason}.",
    fault_dark: "too dark", fault_bright: "too bright", fault_covered: "covered", fault_blurred: "blurred", fault_frozen: "frozen", say_of: "What was the last alarm?", kind_of: "Kind of defect (may be left out)", to_alarm: "To the alarm",
  },
  de: {
    cameras: "Kameras", no_cameras: "Keine Kamera ist eingerichtet.", no_picture: "Noch kein Bild.", show_map: "Karte zeigen", show_boxes: "Rahmen zeigen", pictures_before: "Bilder", picture_of: "Bild von {time}", part_of: "Teil {part}",
    over_limit: "über der Grenze", in_order: "in Ordnung", not_judged_yet: "nicht beurteilt", score_is: "Wert {score}, Grenze {limit}", region_is: "Stelle {n}: {share} % dessen, was über der Grenze liegt, bei {x} % von links und {y} % von oben",
    every: "{n} je Sekunde", last_at: "letztes vor {time}", dropped_n: "{n} fallen gelassen", model_is: "Modell {model} {version}", no_model_yet: "Kein Modell beurteilt ihre Bilder.", learns_from: "Lernt: {rows} von {wanted} guten Bildern.", waits_for: "Es wartet: {reason}.",
    fault_dark: "zu dunkel", fault_bright: "zu hell", fault_covered: "verdeckt", fault_blurred: "unscharf", fault_frozen: "eingefroren", say_of: "Was war der letzte Alarm?", kind_of: "Art des Fehlers (kann entfallen)", to_alarm: "Zum Alarm",
  },
  zh: {
    cameras: "相机", no_cameras: "未配置相机。", no_picture: "还没有图像。", show_map: "显示热图", show_boxes: "显示方框", pictures_before: "图像", picture_of: "{time} 的图像", part_of: "工件 {part}",
    over_limit: "超限", in_order: "正常", not_judged_yet: "未评估", score_is: "得分 {score}，限值 {limit}", region_is: "部位 {n}：占超限部分的 {share} %，距左 {x} %，距上 {y} %",
    every: "每秒 {n} 张", last_at: "最近一张在 {time} 前", dropped_n: "已丢弃 {n} 张", model_is: "模型 {model} {version}", no_model_yet: "没有模型评估其图像。", learns_from: "学习中：{rows} / {wanted} 张合格图像。", waits_for: "等待：{reason}。",
    fault_dark: "过暗", fault_bright: "过亮", fault_covered: "被遮盖", fault_blurred: "模糊", fault_frozen: "画面冻结", say_of: "上次报警属于？", kind_of: "缺陷种类（可省略）", to_alarm: "查看报警",
  },
  ja: {
    cameras: "カメラ", no_cameras: "カメラは設定されていません。", no_picture: "まだ画像がありません。", show_map: "マップを表示", show_boxes: "枠を表示", pictures_before: "画像", picture_of: "{time} の画像", part_of: "部品 {part}",
    over_limit: "しきい値超過", in_order: "正常", not_judged_yet: "判定なし", score_is: "スコア {score}、しきい値 {limit}", region_is: "箇所 {n}：超過分の {share} %、左から {x} %、上から {y} %",
    every: "毎秒 {n} 枚", last_at: "最新は {time} 前", dropped_n: "{n} 枚破棄", model_is: "モデル {model} {version}", no_model_yet: "画像を判定するモデルがありません。", learns_from: "学習中：良品画像 {rows} / {wanted} 枚。", waits_for: "待機中：{reason}。",
    fault_dark: "暗すぎ", fault_bright: "明るすぎ", fault_covered: "遮蔽", fault_blurred: "ぼけ", fault_frozen: "停止画像", say_of: "前回のアラームは？", kind_of: "欠陥の種類（任意）", to_alarm: "アラームへ",
  },
};

export function mount(root, page, [name = ""]) {
  const view = new CameraView(page, name);
  root.append(view.root);
  page.poll("/api/cameras", (rows) => view.showCameras(rows), EVERY_MS);
  return { navigate: ([next = ""]) => view.choose(next) };
}

class CameraView {
  constructor(page, name) {
    Object.assign(this, { page, name, t: page.t, chosen: null, rows: [], thumbnails: new Map() });
    this.list = el("div", "lines cameras");
    this.cameras = new Keyed(this.list, () => this.cameraLine());
    this.empty = make("p", { className: "empty", hidden: true }, this.t("no_cameras"));
    const picked = make("section", { "aria-labelledby": "camera-title" }, this.title(), this.figure(), this.facts(), this.history(), this.trend(), this.feedback());
    this.root = el("div", "camera-view", make("section", { "aria-label": this.t("cameras") }, make("h2", {}, this.t("cameras")), this.list, this.empty), picked);
  }

  // -- parts --------------------------------------------------------------------------------------

  title() {
    this.heading = make("h2", { id: "camera-title" });
    return this.heading;
  }

  figure() {
    this.image = make("img", { alt: "", hidden: true });
    this.heat = make("canvas", { className: "heat", "aria-hidden": "true" });
    this.boxes = document.createElementNS(NS, "svg");
    this.boxes.setAttribute("viewBox", "0 0 1 1");
    this.boxes.setAttribute("preserveAspectRatio", "none");
    this.boxes.setAttribute("aria-hidden", "true");
    this.none = make("p", { className: "empty" }, this.t("no_picture"));
    this.withMap = this.choice("show_map", false);
    this.withBoxes = this.choice("show_boxes", true);
    this.caption = el("figcaption");
    return el("figure", "seen", el("div", "layers", this.image, this.heat, this.boxes), this.none, el("div", "tools", this.withMap.root, this.withBoxes.root), this.caption);
  }

  choice(word, isOn) {
    const box = make("input", { type: "checkbox", id: word, checked: isOn });
    box.onchange = () => this.draw();
    return { root: make("label", { className: "field" }, box, this.t(word)), box };
  }

  facts() {
    this.said = el("ul", "why");
    this.lines = new Keyed(this.said, () => {
      const line = el("li");
      return { root: line, update: (word) => text(line, word) };
    });
    return this.said;
  }

  /** The pictures before: one stop of the keyboard, arrows lead from one to the next. */
  history() {
    this.strip = make("div", { className: "history", role: "listbox", tabIndex: 0, "aria-label": this.t("pictures_before") });
    this.strip.onkeydown = (event) => this.keyed(event);
    this.past = new Keyed(this.strip, (row) => this.thumb(row));
    return this.strip;
  }

  trend() {
    this.scores = strip(this.t("score"));
    return this.scores.root;
  }

  feedback() {
    this.kind = make("input", { id: "defect-kind", maxLength: 48, autocomplete: "off", placeholder: this.t("kind_of"), "aria-label": this.t("kind_of") });
    this.answer = make("p", { className: "failure", role: "status" });
    const buttons = VERDICTS.map((verdict) => {
      const button = make("button", { type: "button", className: `say-${verdict}` }, this.t(`say_${verdict}`));
      button.onclick = () => this.judge(verdict);
      return button;
    });
    this.toAlarm = make("a", { className: "asset-link" }, this.t("to_alarm"));
    this.asked = make("div", { className: "acknowledge", role: "group", "aria-label": this.t("say_of"), hidden: true },
      el("span", "muted", this.t("say_of")), this.kind, ...buttons, this.toAlarm);
    return el("div", "", this.asked, this.answer);
  }

  // -- data ---------------------------------------------------------------------------------------

  choose(name) {
    this.name = name;
    this.chosen = null;
    this.showCameras(this.known ?? []);
  }

  showCameras(rows) {
    this.known = rows;
    if (!this.name && rows.length) this.name = rows[0].camera;
    this.empty.hidden = rows.length > 0;
    this.cameras.update(rows, (row) => row.camera);
    this.camera = rows.find((row) => row.camera === this.name);
    text(this.heading, this.camera ? `${this.camera.asset} · ${this.name}` : this.name);
    this.lines.update(this.camera ? this.sentences(this.camera) : [], (word) => word);
    this.asked.hidden = !this.camera?.model;
    this.toAlarm.href = this.page.linkTo("alarms");
    if (this.camera) this.readPictures(this.name);
  }

  async readPictures(name) {
    const path = `/api/cameras/${encodeURIComponent(name)}/pictures?limit=${SHOWN}`;
    const rows = await this.page.get(path).then(({ body }) => body, () => null);
    if (rows && name === this.name) this.showPictures(rows);
  }

  cameraLine() {
    const link = el("a");
    const state = el("span", "state");
    const root = el("div", "line", el("p", "", link, state));
    return {
      root,
      update: (row) => {
        link.href = this.page.linkTo("cameras", row.camera);
        text(link, `${row.camera} (${row.asset})`);
        text(state, this.stateOf(row));
        const isOver = row.score !== null && row.limit !== null && row.score >= row.limit;
        set(root, "className", isOver || row.quality !== "good" ? "line abnormal" : "line");
        if (row.camera === this.name) link.setAttribute("aria-current", "true");
        else link.removeAttribute("aria-current");
      },
    };
  }

  stateOf(row) {
    if (row.faults.length) return row.faults.map((one) => this.t(`fault_${one}`)).join(", ");
    if (row.quality !== "good") return this.t(row.quality);
    if (row.learning) return this.t("learning_state");
    return row.limit ? `${number(row.score)} / ${number(row.limit)}` : this.t("not_judged_yet");
  }

  sentences(row) {
    const waits = [row.error, row.learning?.obstacle, row.learning?.failure].filter(Boolean).join(" · ");
    const rate = [
      row.rate_hz ? this.t("every", { n: number(row.rate_hz) }) : "",
      row.last_ms ? this.t("last_at", { time: ago(row.last_ms) }) : "",
      row.dropped ? this.t("dropped_n", { n: row.dropped }) : "",
    ].filter(Boolean).join(" · ");
    return [
      row.model ? this.t("model_is", row) : row.learning ? this.t("learns_from", { rows: row.learning.rows, wanted: row.learning.wanted_rows }) : this.t("no_model_yet"),
      row.faults.map((one) => this.t(`fault_${one}`)).join(", "), waits ? this.t("waits_for", { reason: waits }) : "", rate,
    ].filter(Boolean);
  }

  showPictures(rows) {
    this.rows = rows;
    const ids = new Set(rows.map((row) => row.id));
    for (const id of [...this.thumbnails.keys()]) if (!ids.has(id)) this.thumbnails.delete(id);
    this.past.update(rows, (row) => row.id);
    this.showScores();
    this.draw();
  }

  thumb() {
    const image = make("img", { alt: "" });
    const root = make("div", { className: "thumb", role: "option" }, image);
    return {
      root,
      update: (row) => {
        root.dataset.picture = row.id;
        root.id = `picture-${row.id}`;
        root.onclick = () => this.pick(row.id);
        root.setAttribute("aria-label", this.told(row));
        root.classList.toggle("over", row.over);
        this.load(row.id).then((url) => set(image, "src", url), () => {});
      },
    };
  }

  load(id) {
    if (!this.thumbnails.has(id)) {
      const loading = picture(`/api/pictures/${encodeURIComponent(id)}`);
      this.thumbnails.set(id, loading);
      loading.catch(() => this.thumbnails.delete(id));
    }
    return this.thumbnails.get(id);
  }

  told(row) {
    const state = row.score === null ? "not_judged_yet" : row.over ? "over_limit" : "in_order";
    return [this.t("picture_of", { time: stamp(row.at_ms) }), row.part ? this.t("part_of", row) : "", this.t(state)].filter(Boolean).join(", ");
  }

  // -- the picture ----------------------------------------------------------------------------------

  pick(id) {
    this.chosen = id === this.rows[0]?.id ? null : id;
    this.draw();
  }

  keyed(event) {
    const step = { ArrowLeft: -1, ArrowRight: 1, Home: -this.rows.length, End: this.rows.length }[event.key];
    if (step === undefined || !this.rows.length) return;
    event.preventDefault();
    const now = Math.max(0, this.rows.findIndex((row) => row.id === this.shown()?.id));
    this.pick(this.rows[Math.min(Math.max(now + step, 0), this.rows.length - 1)].id);
  }

  shown() {
    return this.rows.find((row) => row.id === this.chosen) ?? this.rows[0];
  }

  draw() {
    const row = this.shown();
    this.none.hidden = Boolean(row);
    this.image.hidden = !row;
    for (const one of this.strip.children) one.setAttribute("aria-selected", one.dataset.picture === row?.id);
    if (!row) return;
    this.strip.setAttribute("aria-activedescendant", `picture-${row.id}`);
    this.load(row.id).then((url) => { if (row === this.shown()) set(this.image, "src", url); }, () => {});
    set(this.image, "alt", this.told(row));
    const regions = row.regions.map((one, index) => this.t("region_is", {
      n: index + 1, share: Math.round(one.share * 100), x: Math.round(50 * (one.left + one.right)), y: Math.round(50 * (one.top + one.bottom)),
    }));
    const score = row.score === null ? "" : this.t("score_is", { score: number(row.score), limit: number(row.limit) });
    this.caption.replaceChildren(...[this.told(row), score, ...regions].filter(Boolean).map((word) => el("p", "", word)));
    this.drawBoxes(this.withBoxes.box.checked ? row.regions : []);
    this.drawMap(this.withMap.box.checked ? row.map : null, row.limit);
  }

  drawBoxes(regions) {
    this.boxes.replaceChildren(...regions.map((one) => {
      const box = document.createElementNS(NS, "rect");
      const places = { x: one.left, y: one.top, width: one.right - one.left, height: one.bottom - one.top };
      for (const [key, value] of Object.entries(places)) box.setAttribute(key, value);
      return box;
    }));
  }

  /** The map over the picture: what is near the limit is faint, what is above it strong. */
  drawMap(map, limit) {
    this.heat.hidden = !map;
    if (!map) return;
    Object.assign(this.heat, { width: map.width, height: map.height });
    const context = this.heat.getContext("2d");
    const cells = context.createImageData(map.width, map.height);
    const greys = atob(map.values);
    for (let at = 0; at < greys.length; at += 1) {
      const value = map.low + ((map.high - map.low) * greys.charCodeAt(at)) / 255;
      const share = Math.min(1, Math.max(0, value / (limit || map.high || 1) - 0.5));
      cells.data.set([208, 90, 0, Math.round(200 * share)], at * 4);
    }
    context.putImageData(cells, 0, 0);
  }

  showScores() {
    const rows = this.rows.filter((row) => row.score !== null).reverse();
    this.scores.root.hidden = rows.length < 2;
    if (rows.length < 2) return;
    const line = (of) => ({ unit: "", time_ms: rows.map((row) => row.at_ms), min: rows.map(of), max: rows.map(of), mean: rows.map(of), marks: rows.map(() => 0), count: [] });
    // No gaps: pictures come when they come.
    const step = Math.max(...rows.slice(1).map((row, at) => row.at_ms - rows[at].at_ms), 1) / 1000;
    const seen = { from: rows[0].at_ms, to: rows.at(-1).at_ms + step * 1000 };
    this.scores.update({ series: line((row) => row.score), limit: line((row) => row.limit), alarms: [], marks: {}, step_s: step }, seen);
  }

  async judge(verdict) {
    const part = this.kind.value.trim();
    const body = { verdict, ...(part ? { part } : {}) };
    const failure = await this.page.post(`/api/alarms/${encodeURIComponent(this.camera.alarm_id)}/feedback`, body);
    set(this.answer, "className", failure ? "failure" : "muted");
    text(this.answer, failure || this.t(`called_${verdict}`));
    if (!failure) this.kind.value = "";
  }
}

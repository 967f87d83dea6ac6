"use strict";
// The drawing area: dark strokes on white paper, by mouse, finger, pen or keyboard.

const BRUSH = 22; // px, about as wide in relation to the digit as the strokes of MNIST
const KEY_STEP = 10; // px that an arrow key moves the brush
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

const byId = (id) => document.getElementById(id);

class Drawing {
  /** `onchange()` is called after every change, `onstroke()` when a stroke ends. */
  constructor(canvas, onchange, onstroke) {
    Object.assign(this, { canvas, onchange, onstroke, strokes: [], stroke: null, isDown: false });
    this.context = canvas.getContext("2d", { willReadFrequently: true });
    this.brush = [canvas.width / 2, canvas.height / 2];
    this.draw();
    this.showBrush();
    canvas.addEventListener("pointerdown", (event) => this.pressed(event));
    canvas.addEventListener("pointermove", (event) => this.moved(event));
    for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => this.released());
    canvas.addEventListener("keydown", (event) => this.typed(event));
  }

  /** The grey levels in rows; paper and ink are grey, so the red part is the level. */
  get levels() {
    const { width, height } = this.canvas;
    const { data } = this.context.getImageData(0, 0, width, height);
    return Uint8Array.from({ length: width * height }, (_, i) => data[4 * i]);
  }

  clear() {
    this.lift();
    this.strokes = [];
    this.changed();
    this.onstroke();
  }

  undo() {
    this.lift();
    this.strokes.pop();
    this.changed();
    this.onstroke();
  }

  changed() {
    this.draw();
    this.onchange();
  }

  draw() {
    const { context, canvas } = this;
    context.fillStyle = "#fff";
    context.fillRect(0, 0, canvas.width, canvas.height);
    Object.assign(context, { strokeStyle: "#111", lineWidth: BRUSH, lineCap: "round", lineJoin: "round" });
    for (const points of this.strokes) {
      context.beginPath();
      context.moveTo(...points[0]);
      for (const point of points) context.lineTo(...point);
      context.stroke();
    }
  }

  begin(point) {
    this.stroke = [point];
    this.strokes.push(this.stroke);
    this.changed();
  }

  /** Pointers. */

  pointOf(event) {
    const box = this.canvas.getBoundingClientRect();
    const { width, height } = this.canvas;
    return [((event.clientX - box.left) * width) / box.width, ((event.clientY - box.top) * height) / box.height];
  }

  pressed(event) {
    if (!event.isPrimary || event.button !== 0) return;
    this.lift();
    this.canvas.setPointerCapture(event.pointerId);
    this.begin(this.pointOf(event));
  }

  moved(event) {
    if (!this.stroke || this.isDown || !event.isPrimary) return;
    const events = event.getCoalescedEvents?.() ?? [];
    for (const each of events.length ? events : [event]) this.stroke.push(this.pointOf(each));
    this.changed();
  }

  released() {
    if (!this.stroke || this.isDown) return;
    this.stroke = null;
    this.onstroke();
  }

  /** Keys: the brush is moved by arrows; while it is down it draws. */

  typed(event) {
    if (event.key in ARROWS) this.move(ARROWS[event.key]);
    else if (event.key === " ") this.isDown ? this.lift() : this.lower();
    else if (event.key === "Escape") this.clear();
    else return;
    event.preventDefault();
  }

  move([right, down]) {
    const limited = (at, side) => Math.min(side, Math.max(0, at));
    const [x, y] = this.brush;
    this.brush = [
      limited(x + right * KEY_STEP, this.canvas.width),
      limited(y + down * KEY_STEP, this.canvas.height),
    ];
    if (this.isDown) {
      this.stroke.push(this.brush);
      this.changed();
    }
    this.showBrush();
  }

  lower() {
    this.isDown = true;
    this.begin(this.brush);
    this.showBrush();
  }

  lift() {
    if (!this.isDown) return;
    this.isDown = false;
    this.stroke = null;
    this.showBrush();
    this.onstroke();
  }

  showBrush() {
    const [x, y] = this.brush;
    Object.assign(byId("brush").style, { left: `${x}px`, top: `${y}px` });
    if (byId("brush").classList.toggle("down", this.isDown)) byId("brush-status").textContent = "Brush down";
    else if (byId("brush-status").textContent) byId("brush-status").textContent = "Brush up";
  }
}

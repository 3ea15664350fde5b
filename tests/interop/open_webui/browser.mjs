// The hands of the tests: does with Open WebUI what a person does, in a headless Chromium. stack.py tells it what.
//
//   node browser.mjs URL CHROMIUM     one JSON object a line: {"do": NAME, ...} in, {"ok": ...} or {"error": ...} out
//
// Every step waits for what it needs to be there; nothing sleeps for a fixed time. Times are CLOCK_MONOTONIC in seconds,
// as Python's time.monotonic().
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const PATIENCE_MS = 60_000;
const SIZE = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

const [url, executablePath] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath,
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const people = new Map(); // name -> browser context
let context, page;

const now = () => Number(process.hrtime.bigint()) / 1e9;
const button = (name, where = page) => where.getByRole("button", { name, exact: true });
const answers = () => page.locator('[id^="message-"]:not(.user-message):not(#message-input-container)');
const answer = () => answers().last();
const question = () => page.locator(".user-message").last();

async function openPage() {
  page = await context.newPage();
  page.setDefaultTimeout(PATIENCE_MS);
}

/// True again and again until `look` gives something true: its value.
async function until(look, what, patience = PATIENCE_MS) {
  const end = Date.now() + patience;
  for (;;) {
    const found = await look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`${what}: not within ${patience / 1000} s; shown: ${await shown()}`);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}

const shown = () => page.locator("body").innerText();
const textOf = async (where) => ((await where.count()) ? await where.innerText() : "");

const steps = {
  async login({ who, email, password, news = true }) {
    context = await browser.newContext({ baseURL: url, viewport: SIZE, deviceScaleFactor: 1 });
    people.set(who, context);
    await openPage();
    await page.goto("/auth");
    await page.fill("#email", email);
    await page.fill("#password", password);
    await page.locator("form button[type=submit]").click();
    if (news) await button("Okay, Let's Go!").click(); // what is new in this release, for the admin
    await page.locator("#chat-input").waitFor();
  },

  async use({ who }) {
    context = people.get(who);
    page = context.pages().at(-1);
    if (!page) await openPage();
    await page.bringToFront();
  },

  /// The agents that the picker offers; leaves it open.
  async openPicker() {
    await page.locator("#model-selector-model-button").first().click();
    const options = page.getByRole("option");
    await options.first().waitFor();
    return (await options.allInnerTexts()).map((text) => text.trim());
  },

  async pick({ name }) {
    await page.getByRole("option", { name: `Select ${name} model` }).click();
    await button(`Selected model: ${name}`).waitFor();
  },

  /// An empty chat with these agents (ids).
  async newChat({ models }) {
    await page.goto(`/?models=${models.join(",")}`);
    await page.locator("#chat-input").waitFor();
    for (const _ of models) await page.getByRole("button", { name: /^Selected model: / }).first().waitFor();
  },

  async openChat({ id }) {
    await page.goto(`/c/${id}`);
    await answer().waitFor();
  },

  async attach({ files }) {
    await page.locator("input[type=file][multiple]").first().setInputFiles(files);
  },

  async type({ text }) {
    await page.locator("#chat-input").click();
    await page.keyboard.insertText(text);
    await until(async () => (await textOf(page.locator("#chat-input"))).includes(text.slice(0, 20)), "the typed text");
  },

  /// Types and sends; the id of the chat, null while it has none.
  async send({ text }) {
    const before = await page.locator(".user-message").count();
    if (text) await steps.type({ text });
    await page.keyboard.press("Enter");
    await until(async () => (await page.locator(".user-message").count()) > before, "the sent message");
    await page.waitForURL(/\/c\/[0-9a-f-]{36}/);
    return page.url().split("/c/")[1].split("?")[0];
  },

  /// Waits for `text` in the last answer, and counts in how many steps the answer grew until then.
  async watch({ text }) {
    const lengths = new Set();
    await until(async () => {
      const said = await textOf(answer());
      if (said) lengths.add(said.length);
      return said.includes(text);
    }, `"${text}" in the answer`);
    return lengths.size;
  },

  /// Waits until nothing streams any more and the last answer has its buttons.
  async settled() {
    await button("Regenerate", answer()).waitFor();
    await page.getByRole("button", { name: "Stop", exact: true }).waitFor({ state: "detached" });
  },

  async answers() {
    return answers().allInnerTexts();
  },

  /// Waits for `text` anywhere on the page.
  async see({ text }) {
    await until(async () => (await shown()).includes(text), `"${text}" on the page`);
  },

  /// How many pictures the last answer has.
  async pictures() {
    return answer().locator('img[src^="data:image/png;base64,"]').count();
  },

  async shown() {
    return shown();
  },

  async unfold({ text }) {
    await page.getByText(text).last().click();
  },

  async edit({ text }) {
    await question().hover();
    await button("Edit", question()).click();
    await question().locator("textarea").fill(text);
    await question().locator("#confirm-edit-message-button").click();
    await question().getByText(text).waitFor();
  },

  async editAnswer({ text }) {
    await button("Edit", answer()).click();
    await answer().locator("textarea").last().fill(text); // the first one is the reasoning
    await answer().locator("#save-edit-message-button, #confirm-edit-message-button").first().click();
    await answer().getByText(text).waitFor();
  },

  async regenerate({ how }) {
    await button("Regenerate", answer()).click();
    await page.getByRole("menu").getByText(how, { exact: true }).click();
  },

  async continueAnswer() {
    await answer().locator("#continue-response-button").click();
  },

  /// Back to the sibling before, of the last question or of the last answer.
  async previous({ of }) {
    const where = of === "question" ? question() : answer();
    await where.hover();
    await where.getByRole("button", { name: /previous/i }).click();
  },

  async stop() {
    const stop = page.getByRole("button", { name: "Stop", exact: true });
    await stop.waitFor();
    const at = now();
    await stop.click();
    await stop.waitFor({ state: "detached" });
    return at;
  },

  async closeTab() {
    await page.close();
  },

  async newTab({ id }) {
    await openPage();
    await steps.openChat({ id });
  },

  async chats() {
    await page.goto("/");
    await page.locator("#chat-input").waitFor();
    return shown();
  },

  async shot({ file, phone = false }) {
    if (phone) await page.setViewportSize(PHONE);
    await page.mouse.move(0, 0);
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    await page.screenshot({ path: file, animations: "disabled" });
    if (phone) await page.setViewportSize(SIZE);
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const { do: name, ...given } = JSON.parse(line);
  let told;
  try {
    told = { ok: (await steps[name](given)) ?? null };
  } catch (error) {
    told = { error: String(error.message).slice(0, 3000) };
  }
  process.stdout.write(JSON.stringify(told) + "\n");
}
await browser.close();

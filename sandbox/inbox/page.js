// Shows what one phone or address received, and who received anything. What others wrote is only ever
// set as text; the HTML of a mail has a frame of its own that may do nothing.

const RETRY_MILLISECONDS = 1000;
const LINK = /https?:\/\/[^\s<>"]+[^\s<>".,;:!?)]/g;

const byId = (id) => document.getElementById(id);
const watching = { recipients: new AbortController(), messages: new AbortController() };
let shown = "";
let isListing = false;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

// A text with its addresses as links, in the direction of its own first letters.
function words(text, className) {
  const made = element("p", "", className);
  made.dir = "auto";
  let end = 0;
  for (const found of text.matchAll(LINK)) {
    const link = element("a", found[0]);
    link.href = found[0];
    link.target = "_blank";
    link.rel = "noopener noreferrer";
    made.append(text.slice(end, found.index), link);
    end = found.index + found[0].length;
  }
  made.append(text.slice(end));
  return made;
}

function time(moment) {
  const made = element("time", `${moment.slice(0, 10)} ${moment.slice(11, 16)}`);
  made.dateTime = moment;
  made.title = `${moment} by the sandbox's clock`;
  return made;
}

function bubble(message) {
  const made = element("li", "", message.written ? "bubble written" : "bubble");
  made.append(words(message.body, "text"), time(message.created));
  return made;
}

function letter(message) {
  const made = element("li", "", "letter");
  const subject = element("h3", message.subject);
  subject.dir = "auto";
  const about = element("p", `From ${message.from} `, "about");
  about.append(time(message.created));
  if (message.deliveries > 1) about.append(` delivered ${message.deliveries} times`);
  made.append(subject, about);
  if (message.has_html) {
    const frame = document.createElement("iframe");
    frame.sandbox = "";
    frame.title = message.subject;
    frame.src = `/inbox/v1/mail/${message.id}?${new URLSearchParams({ to: message.to })}`;
    const plain = element("details");
    plain.append(element("summary", "As plain text"), words(message.text, "text"));
    made.append(frame, plain);
  } else {
    made.append(words(message.text, "text"));
  }
  if (message.attachments.length) {
    const files = element("ul", "", "files");
    for (const file of message.attachments) {
      const entry = element("li", `${file.file_name ?? "(no name)"} (${file.media_type}, ${file.bytes} bytes)`);
      entry.dir = "auto";
      files.append(entry);
    }
    made.append(files);
  }
  return made;
}

// Frames that stay are not loaded again: only what is new is made, and what is gone removed.
function drawMessages(list, messages, make) {
  const isAtEnd = list.scrollTop + list.clientHeight >= list.scrollHeight - 8;
  const drawn = new Map([...list.children].map((entry) => [entry.dataset.key, entry]));
  const entries = messages.map((message) => {
    const key = `${message.id} ${message.deliveries ?? ""}`;
    const entry = drawn.get(key) ?? make(message);
    entry.dataset.key = key;
    drawn.delete(key);
    return entry;
  });
  for (const gone of drawn.values()) gone.remove();
  entries.forEach((entry, place) => {
    if (list.children[place] !== entry) list.insertBefore(entry, list.children[place] ?? null);
  });
  if (isAtEnd) list.scrollTop = list.scrollHeight;
}

function drawRecipients({ recipients }) {
  const entries = recipients.map(({ to, messages }) => {
    const link = element("a", to);
    link.href = `#${new URLSearchParams({ to })}`;
    if (to === shown) link.setAttribute("aria-current", "true");
    const entry = element("li");
    entry.append(link, element("span", String(messages), "count"));
    return entry;
  });
  byId("recipients").replaceChildren(...entries);
}

function say(trouble) {
  byId("trouble").textContent = trouble;
  byId("trouble").hidden = !trouble;
}

// Asks again and again for what is other than the version before, until it is stopped.
async function watch(path, query, headers, signal, draw) {
  let version = "";
  while (!signal.aborted) {
    try {
      const answer = await fetch(`${path}?${new URLSearchParams({ ...query, version })}`, { headers, signal });
      if (answer.status === 401) return false;
      if (!answer.ok) throw new Error(await answer.text());
      const state = await answer.json();
      say("");
      if (state.version !== version) draw(state);
      version = state.version;
    } catch (error) {
      if (signal.aborted) return true;
      say("The sandbox does not answer. This page goes on as soon as it does.");
      await new Promise((done) => setTimeout(done, RETRY_MILLISECONDS));
    }
  }
  return true;
}

function restart(name) {
  watching[name].abort();
  watching[name] = new AbortController();
  return watching[name].signal;
}

async function list() {
  isListing = true;
  const key = sessionStorage.getItem("key");
  byId("unlock").hidden = Boolean(key);
  if (!key) return;
  const headers = { Authorization: `Bearer ${key}` };
  if (await watch("/inbox/v1/recipients", {}, headers, restart("recipients"), drawRecipients)) return;
  sessionStorage.removeItem("key");
  byId("unlock").hidden = false;
  say("This is no API key of the sandbox.");
}

function show(to) {
  shown = to;
  const signal = restart("messages");
  const section = to.includes("@") ? byId("mail") : byId("phone");
  byId("phone").hidden = byId("mail").hidden = true;
  byId("hint").hidden = Boolean(to);
  for (const link of byId("recipients").querySelectorAll("a")) {
    if (link.textContent === to) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
  if (!to) return;
  document.title = `${to}: sandbox`;
  section.querySelector("h2").textContent = to;
  const messages = section.querySelector("ol");
  messages.replaceChildren();
  section.hidden = false;
  const make = section === byId("mail") ? letter : bubble;
  watch("/inbox/v1/messages", { to }, {}, signal, (state) => drawMessages(messages, state.messages, make));
}

// The key does not stay in the address, where it would be seen and kept in the history.
function follow() {
  const given = new URLSearchParams(location.hash.slice(1));
  const key = given.get("key");
  if (key) {
    sessionStorage.setItem("key", key);
    given.delete("key");
    history.replaceState(null, "", `#${given}`);
  }
  if (key || !isListing) list();
  const to = given.get("to") ?? "";
  if (to !== shown) show(to);
}

byId("open").addEventListener("submit", (event) => {
  event.preventDefault();
  location.hash = new URLSearchParams({ to: event.target.elements.to.value.trim() });
});
byId("reply").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  const body = JSON.stringify({ from: shown, body: form.elements.body.value });
  const headers = { "Content-Type": "application/json" };
  try {
    const answer = await fetch("/inbox/v1/replies", { method: "POST", headers, body });
    if (!answer.ok) throw new Error(await answer.text());
    form.reset();
    say("");
  } catch (error) {
    say(`The reply was not sent. ${error.message}`);
  }
});
byId("unlock").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", event.target.elements.key.value);
  event.target.reset();
  list();
});
addEventListener("hashchange", follow);
follow();

// What the page holds: an index, deflated blocks of items with their episodes, pictures.

const PAGE = JSON.parse(document.getElementById("data").textContent);
const { runs: RUNS, items: ITEMS, rows: ROWS } = PAGE;
const LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
const UNSCORED = ["malformed", "missing", "ambiguous", "refused", "truncated", "infrastructure"];

const rowsOfRun = RUNS.map(() => []);
const rowByAnchor = RUNS.map(() => new Map());
const rowsOfItem = ITEMS.map(() => []);
for (const [index, row] of ROWS.entries()) {
  row.index = index;
  rowsOfRun[row.run].push(row);
  rowsOfItem[row.item].push(row);
  if (!rowByAnchor[row.run].has(row.anchor)) rowByAnchor[row.run].set(row.anchor, row);
}

function letter(run) {
  return LETTERS[run] || `${run + 1}`;
}

/** The same item, order and repeat in another run. */
function twin(row, run) {
  return rowByAnchor[run].get(row.anchor);
}

/** The item's other orders and repeats in the same run, this one included. */
function siblings(row) {
  return rowsOfItem[row.item].filter((other) => other.run === row.run);
}

function held(id) {
  const node = document.getElementById(id);
  return node && node.type === "text/plain" ? node.textContent : null;
}

async function inflate(id) {
  const bytes = Uint8Array.from(atob(held(id)), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return new Response(stream).json();
}

const loaded = new Map();

function load(id) {
  if (!loaded.has(id)) loaded.set(id, inflate(id));
  return loaded.get(id);
}

/** An item's payload with that of all its episodes. */
async function bodyOf(item) {
  const block = await load(`b-${ITEMS[item].block}`);
  return block[ITEMS[item].slot];
}

/** The episode of a row: `{row, item, episode, listed}`. */
async function episodeOf(row) {
  const body = await bodyOf(row.item);
  return { row, listed: ITEMS[row.item], item: body.item, episode: body.episodes[row.at] };
}

function pictureUrl(sha) {
  const text = held(`p-${sha}`);
  return text === null ? null : `data:image/webp;base64,${text}`;
}

/** Everything of an episode that free text looks through, in small letters. */
function haystack(item, listed, episode) {
  const found = [listed.id];
  for (const part of item.question) if (part.text) found.push(part.text);
  for (const candidate of episode.candidates) found.push(candidate.text);
  for (const event of episode.events) {
    if (event.kind !== "model") continue;
    found.push(event.reasoning, event.refusal);
    for (const [, ...texts] of event.pieces) found.push(texts.join(""));
  }
  return found.join("\n").toLowerCase();
}

const haystacks = new Array(ROWS.length).fill(null);
let searchable = null;

/** Makes every row's text ready to be searched; `onpart` hears how far it is, from 0 to 1. */
function readAll(onpart) {
  searchable = searchable || (async () => {
    const wanted = [...new Set(ITEMS.map((item) => item.block))];
    for (const [done, block] of wanted.entries()) {
      await load(`b-${block}`);
      onpart(done / wanted.length);
    }
    for (const row of ROWS) {
      const { item, listed, episode } = await episodeOf(row);
      haystacks[row.index] = haystack(item, listed, episode);
    }
  })();
  return searchable;
}

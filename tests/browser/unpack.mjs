// Unpacks the browser that the tests use: the package brings it compressed, with the libraries that it needs.
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { createBrotliDecompress } from "node:zlib";

import { extract } from "tar-fs";

const packed = new URL("node_modules/@sparticuz/chromium/bin/", import.meta.url);
const folder = new URL("node_modules/.chromium/", import.meta.url);
await mkdir(folder, { recursive: true });

async function unpack(name, target) {
  await pipeline(createReadStream(new URL(`${name}.br`, packed)), createBrotliDecompress(), target);
}

await unpack("chromium", createWriteStream(new URL("chromium", folder), { mode: 0o755 }));
for (const name of ["al2023.tar", "swiftshader.tar"]) {
  await unpack(name, extract(folder.pathname));
}

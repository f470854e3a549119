// What a platform does with Recurring, in Node: calls, refusals, pages and events.
//
// It reads where everything answers from the stack.json of the stack on this machine.
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";

import { credentials, Metadata, ServiceError } from "@grpc/grpc-js";
import { connect } from "nats";

import { PriceChangeScheduled } from "./gen/recurring/catalog/v1/events.js";
import {
  CatalogServiceClient,
  CreateProductRequest,
  ListProductsRequest,
  ListProductsResponse,
  Price,
  Product,
} from "./gen/recurring/catalog/v1/catalog.js";
import { BadRequest, ErrorInfo } from "./gen/google/rpc/error_details.js";
import { Status } from "./gen/google/rpc/status.js";

const DEADLINE_MS = 10_000;
const PRICE_CHANGE_SCHEDULED = "recurring.catalog.v1.PriceChangeScheduled";

// Balanced over all replicas, and retried where nobody answered: a request id makes that safe.
const SERVICE_CONFIG = {
  loadBalancingConfig: [{ round_robin: {} }],
  methodConfig: [
    {
      name: [{ service: "recurring.catalog.v1.CatalogService" }],
      retryPolicy: {
        maxAttempts: 5,
        initialBackoff: "0.1s",
        maxBackoff: "1s",
        backoffMultiplier: 3,
        // A server that stops answers CANCELLED to what arrives in its last moment.
        retryableStatusCodes: ["UNAVAILABLE", "CANCELLED"],
      },
    },
  ],
};

const home = process.env.RECURRING_HOME ?? ".recurring";
const stack = JSON.parse(readFileSync(`${home}/stack.json`, "utf8"));
const merchant: string = process.env.RECURRING_MERCHANT ?? stack.merchant;
const tokenFile: string = process.env.RECURRING_TOKEN_FILE ?? stack.token_file;
const parent = `merchants/${merchant}`;

// Without TLS, for the stack on this machine alone; elsewhere `credentials.createSsl()`.
const catalog = new CatalogServiceClient(stack.targets.catalog, credentials.createInsecure(), {
  "grpc.service_config": JSON.stringify(SERVICE_CONFIG),
  // A new replica is found within a second, not after gRPC's own 30.
  "grpc.dns_min_time_between_resolutions_ms": 1000,
});

/** A method that answers with a promise; each call has the token and a deadline. */
function calling<Request, Response>(
  method: (
    request: Request,
    metadata: Metadata,
    options: { deadline: number },
    callback: (error: ServiceError | null, response: Response) => void,
  ) => unknown,
): (request: Request) => Promise<Response> {
  return (request) => {
    const metadata = new Metadata();
    // Read for each call: whoever renews the token replaces the file.
    metadata.set("authorization", `Bearer ${readFileSync(tokenFile, "utf8").trim()}`);
    const call = promisify<Request, Metadata, { deadline: number }, Response>(
      method.bind(catalog) as never,
    );
    return call(request, metadata, { deadline: Date.now() + DEADLINE_MS });
  };
}

const createProduct = calling<CreateProductRequest, Product>(catalog.createProduct);
const createPrice = calling<Parameters<typeof catalog.createPrice>[0], Price>(catalog.createPrice);
const listProducts = calling<ListProductsRequest, ListProductsResponse>(catalog.listProducts);

/** Why a call was refused: a reason for programs, and each field with the rule that it broke. */
function refusalOf(error: ServiceError): { reason: string; fields: Record<string, string> } {
  const refusal = { reason: "", fields: {} as Record<string, string> };
  const [encoded] = error.metadata.get("grpc-status-details-bin");
  if (!encoded) return refusal;
  for (const detail of Status.decode(encoded as Buffer).details) {
    if (detail.typeUrl.endsWith("/google.rpc.ErrorInfo")) {
      refusal.reason = ErrorInfo.decode(detail.value).reason;
    } else if (detail.typeUrl.endsWith("/google.rpc.BadRequest")) {
      for (const one of BadRequest.decode(detail.value).fieldViolations) {
        refusal.fields[one.field] = one.description;
      }
    }
  }
  return refusal;
}

/** Every product of the merchant, page by page. */
async function* products(): AsyncGenerator<Product> {
  let pageToken = "";
  do {
    const page = await listProducts({ parent, pageSize: 2, pageToken });
    yield* page.products;
    pageToken = page.nextPageToken;
  } while (pageToken);
}

async function main(): Promise<void> {
  const id = `coffee-${randomUUID().slice(0, 8)}`;
  const request = CreateProductRequest.fromPartial({
    parent,
    productId: id,
    product: { title: "Coffee beans" },
    requestId: randomUUID(),
  });
  const product = await createProduct(request);
  // The same request again is answered the same, and makes nothing new.
  const again = await createProduct(request);
  console.log(`created ${product.name}, once: ${again.etag === product.etag}`);

  try {
    await createProduct({ ...request, productId: "Coffee!", requestId: "1" });
  } catch (error) {
    console.log("refused", JSON.stringify(refusalOf(error as ServiceError)));
  }

  await createPrice({
    parent: product.name,
    priceId: "first",
    price: Price.fromPartial({
      unitPrice: { currencyCode: "EUR", units: 12n, nanos: 500_000_000 },
    }),
    requestId: randomUUID(),
  });
  let count = 0;
  for await (const _ of products()) count += 1;
  console.log(`the merchant has ${count} products`);

  const address = new URL(stack.platform_nats_url);
  const broker = await connect({
    servers: address.host,
    user: address.username,
    pass: decodeURIComponent(address.password),
    // However long it is away; the default gives up after ten attempts.
    maxReconnectAttempts: -1,
  });
  // The merchant's one durable consumer: it remembers what has been read, also while nobody reads.
  const jetstream = broker.jetstream({ domain: "events", checkAPI: false });
  const consumer = await jetstream.consumers.get("MERCHANTS", merchant);
  for await (const message of await consumer.consume()) {
    // What a platform does not care about is acknowledged and passed over.
    const mine = message.headers?.get("ce-type") === PRICE_CHANGE_SCHEDULED;
    const event = mine ? PriceChangeScheduled.decode(message.data) : undefined;
    await message.ackAck();
    if (event?.product === product.name) {
      console.log(PRICE_CHANGE_SCHEDULED, JSON.stringify(PriceChangeScheduled.toJSON(event)));
      break;
    }
  }
  await broker.close();
  catalog.close();
}

await main();

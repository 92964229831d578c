import type { RequestMiddleware } from "graphql-request";

/** Takes the files out of `value`, with the path of each, and returns what is left: null in their places. */
function withoutFiles(value: unknown, path: string, files: Map<string, Blob>): unknown {
  if (value instanceof Blob) {
    files.set(path, value);
    return null;
  }
  if (Array.isArray(value)) return value.map((each, index) => withoutFiles(each, `${path}.${index}`, files));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, each]) => [name, withoutFiles(each, `${path}.${name}`, files)]),
  );
}

/** A `requestMiddleware` for graphql-request, which has no uploads: it sends files in the variables as a form. */
export const uploads: RequestMiddleware = (request) => {
  const files = new Map<string, Blob>();
  const variables = withoutFiles(request.variables, "variables", files);
  if (files.size === 0) return request;
  const form = new FormData();
  form.append("operations", JSON.stringify({ ...JSON.parse(String(request.body)), variables }));
  form.append("map", JSON.stringify(Object.fromEntries([...files.keys()].map((path, index) => [index, [path]]))));
  [...files.values()].forEach((file, index) => form.append(String(index), file));
  const headers = new Headers(request.headers);
  headers.delete("content-type"); // fetch writes that of the form
  headers.set("apollo-require-preflight", "true");
  return { ...request, headers, body: form };
};

// The tus server and the tus client of their own authors, for `python -m benchmarks sending`.
//
//   node tus_peers.mjs serve FOLDER [CERTIFICATE KEY]    says its address as one line of JSON, ends with its standard input
//   node tus_peers.mjs send URL LIST AT_ONCE             sends what LIST names: lines of JSON with `path`, `length`, `metadata`
import { createReadStream, readFileSync } from 'node:fs'
import { createServer as plain } from 'node:http'
import { createServer as secure } from 'node:https'
import { createRequire } from 'node:module'

const interop = createRequire(new URL('../tests/interop/', import.meta.url))
const [what, ...words] = process.argv.slice(2)

async function serve(directory, certificate, key) {
  const { FileStore } = await import(interop.resolve('@tus/file-store'))
  const { Server } = await import(interop.resolve('@tus/server'))
  const tus = new Server({ path: '/files', relativeLocation: true, datastore: new FileStore({ directory }) })
  const answer = (request, response) => tus.handle(request, response)
  const server = certificate
    ? secure({ cert: readFileSync(certificate), key: readFileSync(key) }, answer)
    : plain(answer)
  server.listen(0, '127.0.0.1', () => {
    console.log(JSON.stringify({ url: `${certificate ? 'https' : 'http'}://127.0.0.1:${server.address().port}/files` }))
  })
  process.stdin.on('end', () => process.exit(0)).resume()
}

async function send(endpoint, list, atOnce) {
  const { Upload } = interop('tus-js-client')
  const waiting = readFileSync(list, 'utf8').trim().split('\n').map(JSON.parse)
  const one = ({ path, length, metadata }) => new Promise((resolve, reject) => {
    new Upload(createReadStream(path), {
      endpoint, metadata, uploadSize: length, uploadDataDuringCreation: true, retryDelays: null,
      onError: reject, onSuccess: resolve,
    }).start()
  })
  const lane = async () => {
    for (let next = waiting.shift(); next; next = waiting.shift()) await one(next)
  }
  await Promise.all(Array.from({ length: Number(atOnce) }, lane))
}

await (what === 'serve' ? serve(...words) : send(...words))

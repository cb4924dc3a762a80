// The tus server of its own authors (@tus/server, @tus/file-store) on loopback, for the interop tests.
//
//   node tus_server.mjs FOLDER PORT [relative|absolute] [EXPIRES_MS]
//
// Says its address as one line of JSON, and ends when its standard input does: no test leaves one behind.
import { FileStore } from '@tus/file-store'
import { Server } from '@tus/server'

const [directory, port, location = 'relative', expires = '0'] = process.argv.slice(2)
const server = new Server({
  path: '/files',
  relativeLocation: location === 'relative',
  disableTerminationForFinishedUploads: true,
  datastore: new FileStore({ directory, expirationPeriodInMilliseconds: Number(expires) }),
})
const listening = server.listen({ host: '127.0.0.1', port: Number(port) }, () => {
  console.log(JSON.stringify({ url: `http://127.0.0.1:${listening.address().port}/files` }))
})
process.stdin.on('end', () => process.exit(0)).resume()

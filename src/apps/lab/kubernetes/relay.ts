// A program that runs inside a network namespace and lets those outside reach one port there: connections to a unix socket,
// which namespaces do not part, go on to that port. `relay.ts SOCKET ADDRESS PORT`.
import { connect, createServer } from 'node:net'

const [socket, host, port] = process.argv.slice(2)
const server = createServer({ allowHalfOpen: true }, from => {
  const to = connect({ host: host!, port: Number(port), allowHalfOpen: true })
  from.pipe(to)
  to.pipe(from)
  from.on('error', () => to.destroy())
  to.on('error', () => from.destroy())
  from.on('close', () => to.destroy())
  to.on('close', () => from.destroy())
})
server.listen(socket)

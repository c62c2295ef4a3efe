// Links are deleted in a thread of its own: the kernel waits out a grace period in the system call (25 to 60 ms for a veth). It
// waits once for all links of a group, so those that are to go while it does go together.
import { randomInt } from 'node:crypto'
import { together } from '../turns.ts'
import { aside } from './aside.ts'
import { KernelError } from './kernel-error.ts'
import { deleteLink, deleteLinks, readLink, writeLink } from './links.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'

type Job = { readonly names: readonly string[]; readonly netns: string | undefined }

/** Says of each whether it was there. */
const reap = aside('link-reaper', import.meta.url, ({ names, netns }: Job): readonly boolean[] => {
  using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
  const found = names.map(name => readLink(socket, name)?.index)
  const [first, ...more] = found.filter(index => index !== undefined)
  if (first === undefined) return names.map(() => false)
  if (more.length === 0) {
    const wasThere = attempt(() => deleteLink(socket, first))
    return found.map(index => index !== undefined && wasThere)
  }
  // A group of this deletion alone: a link that is left in one by a process that died is safe from all others.
  const group = randomInt(2 ** 31, 2 ** 32)
  const marked = found.map(index => index !== undefined && attempt(() => writeLink(socket, index, { group })))
  attempt(() => deleteLinks(socket, group))
  return marked
})

/** False if the link went between the look and this. */
function attempt(work: () => void): boolean {
  try {
    work()
    return true
  } catch (error) {
    if (error instanceof KernelError && error.isMissing) return false
    throw error
  }
}

const ofNetns = new Map<string | undefined, (name: string) => Promise<boolean>>()

/** Deletes a link by name; false if there was none. */
export function deleteLinkAside(name: string, netns?: string): Promise<boolean> {
  const known = ofNetns.get(netns)
  if (known) return known(name)
  const ask = together<string, boolean>(async names =>
    (await reap({ names, netns })).map(value => ({ ok: true, value })),
  )
  ofNetns.set(netns, ask)
  return ask(name)
}

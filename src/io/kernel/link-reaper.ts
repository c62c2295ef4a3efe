// Links are deleted in a thread of its own: the kernel waits out a grace period in the system call (25 to 60 ms for a veth).
import { aside } from './aside.ts'
import { KernelError } from './kernel-error.ts'
import { deleteLink, readLink } from './links.ts'
import { NETLINK, NetlinkSocket } from './netlink-socket.ts'

type Job = { readonly name: string; readonly netns: string | undefined }

const reap = aside('link-reaper', import.meta.url, ({ name, netns }: Job): boolean => {
  using socket = new NetlinkSocket(NETLINK.ROUTE, netns)
  try {
    const link = readLink(socket, name)
    if (link) deleteLink(socket, link.index)
    return link !== undefined
  } catch (error) {
    // It went between the look and the deletion.
    if (error instanceof KernelError && error.isMissing) return false
    throw error
  }
})

/** Deletes a link by name; false if there was none. */
export const deleteLinkAside = (name: string, netns?: string): Promise<boolean> => reap({ name, netns })

// Links that go at the same time: all that were asked for, and no other.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { KernelError } from '../../src/io/kernel/kernel-error.ts'
import { deleteLinkAside } from '../../src/io/kernel/link-reaper.ts'
import { createLink, readLinks } from '../../src/io/kernel/links.ts'
import { NETLINK, NetlinkSocket } from '../../src/io/kernel/netlink-socket.ts'
import { freshNetns } from './netns.ts'

test('links that are deleted at once go, each is told of, and the others stay', async t => {
  const { path } = freshNetns(t)
  using socket = new NetlinkSocket(NETLINK.ROUTE, path)
  for (let i = 0; i < 8; i++) createLink(socket, { kind: 'veth', name: `v${i}`, peer: { name: `w${i}` } })
  const names = ['v0', 'v1', 'none', 'v2', 'v3', 'v4']
  const outcomes = await Promise.all(names.map(name => deleteLinkAside(name, path)))
  assert.deepEqual(outcomes, [true, true, false, true, true, true])
  const left = readLinks(socket).flatMap(({ kind, name }) => (kind === 'veth' ? [name] : []))
  assert.deepEqual(left.sort(), ['v5', 'v6', 'v7', 'w5', 'w6', 'w7'])
  assert.equal(await deleteLinkAside('v5', path), true)
  assert.equal(await deleteLinkAside('v5', path), false)
})

test('a namespace that is not there fails those who ask of it, and nobody after them', async t => {
  const isKernelError = (error: unknown): boolean => error instanceof KernelError
  await Promise.all(
    ['a', 'b'].map(name => assert.rejects(deleteLinkAside(name, '/run/netns/of-nobody'), isKernelError)),
  )
  const { path } = freshNetns(t)
  assert.equal(await deleteLinkAside('a', path), false)
})

// One set-up at a time on this machine: a file that holds a process id and that process's start time.
// It comes into being with its contents (a hard link is atomic), so nobody ever reads a half-written one.
import { linkSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'

const FILE = '/run/gingham-set-up.lock'

const delay = ms => new Promise(resolve => setTimeout(resolve, ms))

/** A process's start time in clock ticks since boot (field 22 of /proc/PID/stat); `undefined` when it does not live. */
function startTime(pid) {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    // The name in field 2 may hold spaces and parentheses: count from its end.
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19]
  } catch {
    return undefined
  }
}

function holder() {
  try {
    const text = readFileSync(FILE, 'utf8')
    const [pid, started] = text.trim().split(' ')
    return { text, pid, alive: started !== undefined && startTime(pid) === started }
  } catch {
    return undefined
  }
}

/** Takes away the lock of a dead process, unless somebody else took its place in between. */
function removeDead(text) {
  const aside = `${FILE}.${process.pid}.dead`
  try {
    renameSync(FILE, aside)
    if (readFileSync(aside, 'utf8') !== text) linkSync(aside, FILE)
  } catch {
    // Somebody else was faster: the next look decides.
  } finally {
    rmSync(aside, { force: true })
  }
}

/** Runs `body` while no other set-up runs; says so once when it has to wait. */
export async function withLock(say, body) {
  const own = `${FILE}.${process.pid}`
  writeFileSync(own, `${process.pid} ${startTime(process.pid)}\n`)
  try {
    for (let told = false; ; ) {
      try {
        linkSync(own, FILE)
        break
      } catch (error) {
        if (error.code !== 'EEXIST') throw error
      }
      const other = holder()
      if (other !== undefined && !other.alive) removeDead(other.text)
      else {
        if (other !== undefined && !told) say(`waiting for another set-up, process ${other.pid}`)
        told ||= other !== undefined
        await delay(100)
      }
    }
    try {
      return await body()
    } finally {
      rmSync(FILE, { force: true })
    }
  } finally {
    rmSync(own, { force: true })
  }
}

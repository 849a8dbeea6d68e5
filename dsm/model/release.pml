/*
 * A model of release consistency (dsm/publish.c, dsm/acquire.c, dsm/change_log.c, dsm/fetch.c, dsm/fault.c) for Spin,
 * which tries every interleaving of its steps.
 *
 * A step is what other nodes or threads cannot see half of: one one-sided operation on one word or less (a read or a
 * write of many words is many steps), or one change of a page's mapping. Any process may stall between any two steps,
 * for as long as it likes. Operations of one chain are in program order, which is what dsm/transport.h promises.
 *
 * What is checked, whatever the interleaving:
 *   - whoever acquires after a release was announced loads what was stored before that release, or something newer
 *     (inline look);
 *   - what a release tells of is in the master when it is announced (announce);
 *   - a node loads its own last store (look); under a lock, the last store of all (inline critical_section);
 *   - in the end, when all have released and acquired, all nodes and the masters agree, and no store is lost (inline
 *     finish);
 *   - nobody waits for ever (invalid end states).
 *
 * What is not: memory order below the transport (argued in dsm/transport_shm.c and the places that use atomics), errors
 * of the transport, bytes within words, and pages of many blocks (a block is to versions what a page is here).
 *
 * By hand, with one CONFIG_ and at most one BUG_ or HARMLESS_ (all are in check.sh):
 *   spin -a -DCONFIG_PAIR release.pml && cc -O2 -w -DSAFETY -DCOLLAPSE -o pan pan.c && ./pan -m100000
 *   spin -t -p -DCONFIG_PAIR release.pml     after an error: the steps that lead to it; -g -l: with variables
 *
 * BUG_...: the protocol with one thing wrong, which the check must find. If it does not, it checks nothing.
 *   BUG_VERSION_BEFORE_DATA      publishing advances the version, then writes the data
 *   BUG_LOG_BEFORE_VERSION       publishing logs the page, then advances the version
 *   BUG_NO_PROTECT               publishing does not write-protect the page
 *   BUG_PROTECT_LATE             publishing write-protects the page after it was compared with its twin
 *   BUG_HELD_ALWAYS              after publishing, the version just made counts as held, whoever published in between
 *   BUG_DATA_BEFORE_VERSION_READ fetching reads the data, then the version
 *   BUG_CACHED_LATE              fetching adds the page to the set of cached pages after it has read the version
 *   BUG_TWIN_LATE                a page is made writable, then its twin is made
 *   BUG_UNFILLED_SKIPPED         the head goes before the entry, and a reader skips what is no entry of its lap
 *   BUG_OVERWRITTEN_SKIPPED      the head goes after the entry, and a reader skips what is no entry of its lap
 *   BUG_OVERFLOW_IGNORED         a reader more than a lap behind reads what the ring still has, and no more
 *   BUG_NO_LAPS                  entries do not hold the lap number
 *   BUG_HEADS_AFTER              comparing versions: the heads that count as applied are read after the versions
 *   BUG_APPLIED_EARLY            entries count as applied before their pages are un-mapped
 *   BUG_UNMAP_UNPUBLISHED        an acquire un-maps a page that was stored to without publishing it
 *   BUG_UNMAP_HOT                an acquire publishes a hot page and un-maps it without write-protecting it
 *   BUG_HOT_FROM_MEMORY          a hot page is sent first, and copied into the twin after
 *   BUG_PRESUMED_ONCE            a page at home that is presumed changed is not looked at by the next pass, though it
 *                                stayed writable
 *   BUG_PASS_LOOKED_AT_ONCE      a thread that finds the dirty set empty, and then no pass under way, takes its stores
 *                                for published; a hot page may have been put back into the set in between
 *   BUG_ANNOUNCE_EARLY           a release is announced before it is complete
 *
 * HARMLESS_...: looks like a bug and is none. The check must find that too.
 *   HARMLESS_HEAD_FIRST          the head goes before the entry, nothing else changed. A reader of the slot finds the
 *                                lap before, compares versions, and those were advanced before the head.
 *   HARMLESS_OVERFLOW_READ_ALL   a reader more than a lap behind does not notice, and reads every entry up to the head.
 *                                Two of them share a slot, which holds one lap: one of them is found to be overwritten.
 *                                (With laps told apart as below. It costs reads, not correctness.)
 *   HARMLESS_HELD_COUNTS         after publishing, `held` is increased by one even if somebody published in between.
 *                                It is behind the version by the publications of others, and stays so.
 */

/* --- configurations ------------------------------------------------------------------------------------------ */

#if defined(CONFIG_PAIR)
/* A home that stores, and a node that stores to another word of the same block; more entries than the ring has. */
#define NODES 2
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#elif defined(CONFIG_OVERFLOW)
/* A home that publishes again and again, and a reader that falls behind. */
#define NODES 2
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#elif defined(CONFIG_PAGES)
/* Two pages of one home: entries are of different pages, or of both at once. */
#define NODES 2
#define PAGES 2
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#elif defined(CONFIG_HOMES)
/* Two pages, each at home on one of the nodes. */
#define NODES 2
#define PAGES 2
#define HOMES 2
#define FIRST_WRITER 0
#define WRITERS 2
#elif defined(CONFIG_TRIO)
/* Two nodes publish one block of a third, which looks on. */
#define NODES 3
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 1
#define WRITERS 2
#elif defined(CONFIG_LOCK)
/* Three nodes count in one word under a lock. */
#define NODES 3
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 1
#define WRITERS 2
#define SHARED 1
#elif defined(CONFIG_THREADS)
/* One thread of a node acquires while another faults, loads, and acquires if there is nothing to it. */
#define NODES 2
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#elif defined(CONFIG_STORES)
/* One thread of a node releases and acquires while another stores, and both of them fault. */
#define NODES 2
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#elif defined(CONFIG_HOT)
/* The same, and a page may be hot: published without being write-protected. */
#define NODES 2
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#define HOT
#elif defined(CONFIG_PRESUMED)
/* A page at home may be presumed changed: it stays writable, and every release publishes it (home_writes.c). */
#define NODES 2
#define PAGES 1
#define HOMES 1
#define FIRST_WRITER 0
#define WRITERS 2
#define PRESUMED
#else
#error "no CONFIG_"
#endif

#ifndef CAPACITY
#define CAPACITY 1 /* entries of a ring */
#endif
#ifdef BUG_NO_LAPS
#define LAPS 1
#else
#define LAPS 2 /* laps that are told apart (CHANGE_LAPS) */
#endif

#ifndef SHARED
#define SHARED 0 /* words of a page that all nodes store to under the lock: the first */
#endif
#define WORDS (SHARED + WRITERS) /* of a page, which is one block */
#define ALL_WORDS (PAGES * WORDS)

#define HOME(p) ((p) % HOMES)
#define WRITES(n) ((n) >= FIRST_WRITER && (n) < FIRST_WRITER + WRITERS)
#define OWN(n) (SHARED + (n) - FIRST_WRITER) /* the word of a page that node n alone stores to */

/* --- memory -------------------------------------------------------------------------------------------------- */

/* A page's state, and how it is mapped; a hardware page table is not under the page lock. */
#define UNMAPPED 0
#define READ 1
#define WRITE 2

/* At homes. The master of a page is its home's own bytes. */
byte version_[PAGES];
#define VERSION(p) version_[p]
byte entry_[HOMES * NODES * CAPACITY];
#define ENTRY(h, n, e) entry_[((h) * NODES + (n)) * CAPACITY + (e) % CAPACITY]
byte head_[HOMES * NODES];
#define HEAD(h, n) head_[(h) * NODES + (n)]

/* An entry: its lap, never 0, and a run of pages, as bits. */
#define LAP(e) ((e) / CAPACITY % LAPS + 1)
#define ENCODE(e, pages) (LAP(e) << PAGES | (pages))
#define PAGES_OF(word) ((word) & ((1 << PAGES) - 1))
#define LAP_OF(word) ((word) >> PAGES)

/* Of each node. */
byte bytes_[NODES * ALL_WORDS];
#define BYTES(n, p, i) bytes_[((n) * PAGES + (p)) * WORDS + (i)]
#define MASTER(p, i) BYTES(HOME(p), p, i)
byte twin_[NODES * ALL_WORDS];
#define TWIN(n, p, i) twin_[((n) * PAGES + (p)) * WORDS + (i)]
byte held_[NODES * PAGES]; /* the version that the bytes are of, plus one; 0: none */
#define HELD(n, p) held_[(n) * PAGES + (p)]
byte state_[NODES * PAGES];
#define STATE(n, p) state_[(n) * PAGES + (p)]
byte mapped_[NODES * PAGES];
#define MAPPED(n, p) mapped_[(n) * PAGES + (p)]
bool locked_[NODES * PAGES];
#define LOCKED(n, p) locked_[(n) * PAGES + (p)]
byte dirty[NODES], cached[NODES]; /* sets of pages, as bits */
byte applied_[NODES * HOMES * NODES];
#define APPLIED(n, h, q) applied_[((n) * HOMES + (h)) * NODES + (q)]

#define BIT(p) (1 << (p))
#define HAS(set, p) ((set) >> (p) & 1)

/* --- what the check knows, and the nodes do not -------------------------------------------------------------- */

byte stored_[ALL_WORDS];	   /* last value stored; stores to a word count upwards */
byte announced_[ALL_WORDS];	   /* what the releases that were announced tell of */
byte required_[NODES * ALL_WORDS]; /* what a load of the node must find at least */
#define STORED(p, i) stored_[(p) * WORDS + (i)]
#define REQUIRED(n, w) required_[(n) * ALL_WORDS + (w)]
bool reading_[NODES * HOMES]; /* the node has read heads of the home, and is about to read entries */
#define READING(n, h) reading_[(n) * HOMES + (h)]

byte passes[NODES]; /* passes of release() begun and ended: odd while one is under way (consistency.c) */

byte busy[NODES]; /* threads of a node that have not done all they want to do */
byte arrived;	  /* nodes that have released for the last time */
bool lock_taken;

/* --- page lock ----------------------------------------------------------------------------------------------- */

/* page_lock() */
inline lock_page(n, p)
{
	atomic { !LOCKED(n, p) -> LOCKED(n, p) = true }
}

/* --- publish (publish.c) ------------------------------------------------------------------------------------- */

/* One word of post_diff(). A hot page's word goes by way of the twin, for it may be stored to meanwhile. */
inline post_word(n, p, i)
{
	if
	:: BYTES(n, p, i) == TWIN(n, p, i)
#ifndef HOT
	:: d_step {
		BYTES(n, p, i) != TWIN(n, p, i) ->
		changed = changed | BIT(p);
		TWIN(n, p, i) = BYTES(n, p, i);
		MASTER(p, i) = BYTES(n, p, i)
	   }
#elif defined(BUG_HOT_FROM_MEMORY)
	:: atomic { BYTES(n, p, i) != TWIN(n, p, i) -> MASTER(p, i) = BYTES(n, p, i) }
	   d_step { changed = changed | BIT(p); TWIN(n, p, i) = BYTES(n, p, i) }
#else
	:: d_step {
		BYTES(n, p, i) != TWIN(n, p, i) -> /* diff_next(), memcpy() */
		changed = changed | BIT(p);
		TWIN(n, p, i) = BYTES(n, p, i)
	   }
	   MASTER(p, i) = TWIN(n, p, i) /* ops->post_write() */
#endif
	fi
}

/* post_data(): step 2. The bytes of a page at home are the master; that it was stored to is all that is known. */
inline post_data(n, p)
{
	if
	:: HOME(p) == n -> changed = changed | BIT(p)
	:: HOME(p) != n ->
		post_word(n, p, 0);
		post_word(n, p, 1);
#if WORDS > 2
		post_word(n, p, 2);
#endif
	fi
}

/* post_versions(): step 3. What is held afterwards (advance_held()) is nobody else's business. */
inline post_version(n, p)
{
	d_step {
#if defined(BUG_HELD_ALWAYS)
		HELD(n, p) = VERSION(p) + 2;
#elif defined(HARMLESS_HELD_COUNTS)
		HELD(n, p)++;
#else
		if
		:: VERSION(p) + 1 == HELD(n, p) -> HELD(n, p)++
		:: else
		fi;
#endif
		VERSION(p)++
	}
}

/* change_log_post(): step 4. */
inline post_entry(n, h, number) { ENTRY(h, n, number) = ENCODE(number, changed) }

inline post_head(n, h) { HEAD(h, n)++ }

/*
 * Laps are told apart if nobody goes all the way round while somebody reads a ring. 4096 laps do that in C; here the
 * publisher waits, where one lap more would be mistaken for the one that a reader expects.
 */
#ifdef BUG_NO_LAPS
#define MISTAKEN_BY(r, n, h) false
#else
#define MISTAKEN_BY(r, n, h) (READING(r, h) && HEAD(h, n) >= APPLIED(r, h, n) + LAPS * CAPACITY)
#endif
inline assume_laps_suffice(n, h)
{
#if NODES > 2
	!MISTAKEN_BY(0, n, h) && !MISTAKEN_BY(1, n, h) && !MISTAKEN_BY(2, n, h)
#else
	!MISTAKEN_BY(0, n, h) && !MISTAKEN_BY(1, n, h)
#endif
}

inline post_log(n, h)
{
	if
	:: changed ->
		assume_laps_suffice(n, h);
#if defined(BUG_UNFILLED_SKIPPED) || defined(HARMLESS_HEAD_FIRST)
		post_head(n, h);
		post_entry(n, h, HEAD(h, n) - 1)
#else
		post_entry(n, h, HEAD(h, n));
		post_head(n, h)
#endif
	:: !changed
	fi
}

/* publish_batch(): pages of home h, locked and in state WRITE; those in `hot` are not write-protected. */
inline publish_batch(n, h)
{
	changed = 0;
#if !defined(BUG_NO_PROTECT) && !defined(BUG_PROTECT_LATE)
	for (p : 0 .. PAGES - 1) { /* protect(): step 1 */
		if
		:: HAS(batch & ~hot, p) -> MAPPED(n, p) = READ
		:: else
		fi
	}
#endif
	for (p : 0 .. PAGES - 1) { /* post_pages() */
		if
		:: HAS(batch, p) ->
#ifdef BUG_VERSION_BEFORE_DATA
			post_version(n, p);
#endif
			post_data(n, p);
#if !defined(BUG_VERSION_BEFORE_DATA) && !defined(BUG_LOG_BEFORE_VERSION)
			if
			:: HAS(changed, p) -> post_version(n, p)
			:: !HAS(changed, p)
			fi
#endif
		:: else
		fi
	}
	p = 0;
	post_log(n, h);
#ifdef BUG_LOG_BEFORE_VERSION
	for (p : 0 .. PAGES - 1) {
		if
		:: HAS(changed, p) -> post_version(n, p)
		:: else
		fi
	}
#endif
	atomic { /* finish_page() */
		for (p : 0 .. PAGES - 1) {
			if
			:: HAS(batch & ~hot, p) ->
				STATE(n, p) = READ;
#ifdef BUG_PROTECT_LATE
				MAPPED(n, p) = READ
#endif
			:: else
			fi
		}
#ifndef BUG_PRESUMED_ONCE
		dirty[n] = dirty[n] | (batch & hot);
#endif
		changed = 0;
		p = 0
	}
}

/* A barrier's word, a lock's word, a message: whoever acquires from now on has seen it. */
inline announce(n)
{
	atomic {
		for (w : 0 .. ALL_WORDS - 1) {
			assert(MASTER(w / WORDS, w % WORDS) >= told[w]);
			if
			:: told[w] > announced_[w] -> announced_[w] = told[w]
			:: else
			fi;
			told[w] = 0
		}
		w = 0
	}
}

/* A release: publishes what is in the dirty set, home by home, and announces it. */
inline release(n)
{
	d_step { /* what was stored before now is what this release is about */
		for (w : 0 .. ALL_WORDS - 1) {
			if
			:: WRITES(n) && w % WORDS == OWN(n) -> told[w] = stored_[w]
			:: else
			fi
		}
		w = 0
	}
#ifdef BUG_ANNOUNCE_EARLY
	announce(n);
#endif
	passes[n]++;
	d_step { taken = dirty[n]; dirty[n] = 0 } /* page_set_take() */
	for (h : 0 .. HOMES - 1) {
		batch = 0;
		hot = 0;
		for (u : 0 .. PAGES - 1) {
			if
			:: HAS(taken, u) && HOME(u) == h ->
				lock_page(n, u);
				if
				:: STATE(n, u) == WRITE -> batch = batch | BIT(u)
				:: STATE(n, u) != WRITE -> LOCKED(n, u) = false
				fi
			:: else
			fi
		}
#ifdef HOT
		if
		:: h != n -> hot = batch
		:: true
		fi;
#elif defined(PRESUMED)
		if
		:: h == n -> hot = batch
		:: true
		fi;
#endif
		if
		:: batch -> publish_batch(n, h)
		:: !batch
		fi;
		for (u : 0 .. PAGES - 1) {
			if
			:: HAS(batch, u) -> LOCKED(n, u) = false
			:: else
			fi
		}
	}
	atomic { passes[n]++; taken = 0; batch = 0; hot = 0; h = 0; u = 0 }
#ifndef BUG_ANNOUNCE_EARLY
	announce(n)
#endif
}

/*
 * A release that finds nothing to publish and leaves it at that: is_published(). Any thread, also while another is in
 * release(). (If there is something it waits for its turn; that case is release().) No pass may have been under way
 * when the set was empty: what a pass has taken out may not be published yet, and a hot page may have been stored to
 * after the pass compared it, and is put back into the set only when the pass ends.
 */
inline glance_to_release(n)
{
#ifdef BUG_PASS_LOOKED_AT_ONCE
	d_step { told[OWN(n)] = STORED(0, OWN(n)); lost = dirty[n] }
	lost = lost || passes[n] % 2;
#else
	d_step { told[OWN(n)] = STORED(0, OWN(n)); before = passes[n] }
	lost = before % 2 || dirty[n];
	lost = lost || passes[n] != before;
	before = 0;
#endif
	if
	:: lost -> told[OWN(n)] = 0
	:: !lost -> announce(n)
	fi;
	lost = false
}

/* --- acquire (acquire.c, change_log.c) ----------------------------------------------------------------------- */

/* Un-maps page u, which is locked, and unlocks it; published first if it was stored to. */
inline unmap_locked(n, h)
{
#ifndef BUG_UNMAP_UNPUBLISHED
	if
	:: STATE(n, u) == WRITE ->
		batch = BIT(u);
#ifdef BUG_UNMAP_HOT
		hot = batch;
#endif
		publish_batch(n, h);
		batch = 0;
		hot = 0
	:: STATE(n, u) != WRITE
	fi;
#endif
	d_step {
		MAPPED(n, u) = UNMAPPED;
		STATE(n, u) = UNMAPPED;
		LOCKED(n, u) = false
	}
}

/* One change of the log: the pages are un-mapped, whatever their versions. */
inline apply(n, h)
{
	for (u : 0 .. PAGES - 1) {
		if
		:: HAS(PAGES_OF(word), u) ->
			lock_page(n, u);
			if
			:: STATE(n, u) != UNMAPPED -> unmap_locked(n, h)
			:: STATE(n, u) == UNMAPPED -> LOCKED(n, u) = false
			fi
		:: else
		fi
	}
	u = 0
}

/* apply_ring(): the entries of one publisher, up to the head as it was read. */
inline apply_ring(n, h, q)
{
	e = APPLIED(n, h, q);
#ifdef BUG_APPLIED_EARLY
	APPLIED(n, h, q) = heads[q];
#endif
#if defined(BUG_OVERFLOW_IGNORED)
	if
	:: heads[q] > e + CAPACITY -> e = heads[q] - CAPACITY
	:: else
	fi;
#elif !defined(HARMLESS_OVERFLOW_READ_ALL)
	lost = heads[q] > e + CAPACITY;
#endif
	do
	:: e < heads[q] && !lost ->
		word = ENTRY(h, q, e); /* read_entries() */
		if
		:: LAP_OF(word) == LAP(e) -> apply(n, h)
		:: else ->
#if !defined(BUG_UNFILLED_SKIPPED) && !defined(BUG_OVERWRITTEN_SKIPPED)
			lost = true
#else
			skip
#endif
		fi;
		word = 0;
		e++
	:: else -> break
	od;
	e = 0;
	if
	:: !lost && heads[q] > APPLIED(n, h, q) -> APPLIED(n, h, q) = heads[q] /* count_as_applied() */
	:: else
	fi
}

/* The log was lost track of: looks at all pages of the home that may be mapped. */
inline compare(n, h)
{
	d_step { /* page_set_take() */
		READING(n, h) = false; /* from here on only versions */
		for (u : 0 .. PAGES - 1) {
			if
			:: HAS(cached[n], u) && HOME(u) == h ->
				taken = taken | BIT(u);
				cached[n] = cached[n] & ~BIT(u)
			:: else
			fi
		}
		u = 0
	}
	for (u : 0 .. PAGES - 1) {
		if
		:: HAS(taken, u) -> versions[u] = VERSION(u)
		:: else
		fi
	}
#ifdef BUG_HEADS_AFTER
	for (q : 0 .. NODES - 1) {
		heads[q] = HEAD(h, q)
	}
#endif
	for (u : 0 .. PAGES - 1) {
		if
		:: HAS(taken, u) ->
			lock_page(n, u);
			if
			:: STATE(n, u) != UNMAPPED && HELD(n, u) < versions[u] + 1 -> unmap_locked(n, h)
			:: STATE(n, u) != UNMAPPED && HELD(n, u) >= versions[u] + 1 ->
				d_step { cached[n] = cached[n] | BIT(u); LOCKED(n, u) = false }
			:: STATE(n, u) == UNMAPPED -> LOCKED(n, u) = false
			fi;
			versions[u] = 0
		:: else
		fi
	}
	taken = 0;
	atomic { /* change_log_caught_up() */
		for (q : 0 .. NODES - 1) {
			if
			:: q != n -> APPLIED(n, h, q) = heads[q]
			:: else
			fi
		}
		u = 0;
		q = 0
	}
}

/* What was announced before now is what this acquire is about. */
inline begin_acquire(n)
{
	d_step {
		for (w : 0 .. ALL_WORDS - 1) {
			wanted[w] = announced_[w]
		}
		w = 0
	}
}

/* From now on all threads of the node must find it. */
inline end_acquire(n)
{
	d_step {
		for (w : 0 .. ALL_WORDS - 1) {
			if
			:: wanted[w] > REQUIRED(n, w) -> REQUIRED(n, w) = wanted[w]
			:: else
			fi;
			wanted[w] = 0
		}
		w = 0
	}
}

/* An acquire: for each other home, change_log_apply(), and compare if it has lost track. */
inline acquire(n)
{
	begin_acquire(n);
	for (h : 0 .. HOMES - 1) {
		if
		:: h != n ->
			READING(n, h) = true;
			for (q : 0 .. NODES - 1) { /* read_heads() */
				if
				:: q != n -> heads[q] = HEAD(h, q)
				:: else
				fi
			}
			lost = false;
			for (q : 0 .. NODES - 1) {
				if
				:: q != n && heads[q] > APPLIED(n, h, q) && !lost -> apply_ring(n, h, q)
				:: else
				fi
			}
			if
			:: lost -> compare(n, h)
			:: !lost
			fi;
			d_step {
				READING(n, h) = false;
				lost = false;
				for (q : 0 .. NODES - 1) {
					heads[q] = 0
				}
				q = 0
			}
		:: else
		fi
	}
	h = 0;
	end_acquire(n)
}

/* An acquire that finds no news and leaves it at that: change_log_is_news(). Any thread, also while another is in
 * acquire(). (If there are news it waits for its turn; that case is acquire().) */
inline glance(n)
{
	begin_acquire(n);
	for (h : 0 .. HOMES - 1) {
		if
		:: h != n ->
			for (q : 0 .. NODES - 1) {
				if
				:: q != n ->
					heads[q] = HEAD(h, q);
					lost = lost || heads[q] > APPLIED(n, h, q);
					heads[q] = 0
				:: else
				fi
			}
			q = 0
		:: else
		fi
	}
	h = 0;
	if
	:: lost -> d_step {
		for (w : 0 .. ALL_WORDS - 1) {
			wanted[w] = 0
		}
		w = 0
	   }
	:: !lost -> end_acquire(n)
	fi;
	lost = false
}

/* --- faults (fault.c, fetch.c) ------------------------------------------------------------------------------- */

inline fetch_data(n, p)
{
	BYTES(n, p, 0) = MASTER(p, 0);
	BYTES(n, p, 1) = MASTER(p, 1);
#if WORDS > 2
	BYTES(n, p, 2) = MASTER(p, 2);
#endif
}

/*
 * fetch_pages(): the block is read if its version is not the one held. (A transport for which looking first is not free
 * reads a stale page in any case. That is to read more than is needed: what is read was published, or is about to be.)
 */
inline fetch(n, p)
{
#ifdef BUG_DATA_BEFORE_VERSION_READ
	fetch_data(n, p);
#endif
	version = VERSION(p);
#ifdef BUG_CACHED_LATE
	cached[n] = cached[n] | BIT(p);
#endif
#ifndef BUG_DATA_BEFORE_VERSION_READ
	if
	:: version && HELD(n, p) != version + 1 -> fetch_data(n, p)
	:: else
	fi;
#endif
	d_step { HELD(n, p) = version + 1; version = 0 } /* remember() */
}

/* page_begin_write() */
inline begin_write(n, p)
{
	for (w : 0 .. WORDS - 1) {
		TWIN(n, p, w) = BYTES(n, p, w)
	}
	w = 0;
	dirty[n] = dirty[n] | BIT(p)
}

/* The end of map_page() and upgrade_page(): the page is mapped as the access needs it, and unlocked. */
inline map(n, p)
{
#ifdef BUG_TWIN_LATE
	if
	:: write -> MAPPED(n, p) = WRITE
	:: !write
	fi;
#endif
	d_step {
		if
		:: write -> begin_write(n, p)
		:: else
		fi;
		MAPPED(n, p) = (write -> WRITE : READ);
		STATE(n, p) = MAPPED(n, p);
		LOCKED(n, p) = false
	}
}

/* fault_resolve() */
inline fault(n, p)
{
	lock_page(n, p);
	if
	:: STATE(n, p) == UNMAPPED ->
#ifndef BUG_CACHED_LATE
		cached[n] = cached[n] | BIT(p); /* page_set_add() */
#endif
		if
		:: HOME(p) != n -> fetch(n, p)
		:: else
		fi;
		map(n, p)
	:: STATE(n, p) == READ && write -> map(n, p)
	:: else -> LOCKED(n, p) = false
	fi
}

/* --- the application ----------------------------------------------------------------------------------------- */

/* What a load of any word of the page finds now. */
inline look(n, p)
{
	for (w : 0 .. WORDS - 1) {
		assert(BYTES(n, p, w) >= REQUIRED(n, (p) * WORDS + w));
		assert(!WRITES(n) || w != OWN(n) || BYTES(n, p, w) == STORED(p, w))
	}
	w = 0
}

/* A load of page p; a store to its word `target` if `write`. An access that faults is tried again. */
inline access(n, p)
{
	do
	:: d_step {
		!write && MAPPED(n, p) != UNMAPPED ->
		look(n, p)
	   }
	   break
	:: d_step {
		write && MAPPED(n, p) == WRITE ->
		look(n, p);
		STORED(p, target)++;
		BYTES(n, p, target) = STORED(p, target)
	   }
	   break
	:: atomic { MAPPED(n, p) < (write -> WRITE : READ) -> skip }
	   fault(n, p)
	od;
	write = false;
	target = 0
}

/* A lock's critical section around word 0 of page 0. It is read and stored in one step: who holds the lock is alone. */
inline critical_section(n)
{
	atomic { !lock_taken -> lock_taken = true }
	acquire(n);
	a = 0;
	access(n, a);
	assert(BYTES(n, 0, 0) == STORED(0, 0));
	write = true;
	access(n, a);
	told[0] = STORED(0, 0);
	release(n);
	lock_taken = false
}

/* The last release, a barrier, the last acquire: all is the same everywhere. */
inline finish(n)
{
	!busy[n];
	release(n);
	arrived++;
	arrived == NODES;
	acquire(n);
	for (a : 0 .. PAGES - 1) {
		access(n, a);
		d_step {
			for (w : 0 .. WORDS - 1) {
				assert(BYTES(n, a, w) == STORED(a, w));
				assert(MASTER(a, w) == STORED(a, w))
			}
			w = 0
		}
	}
}

/*
 * A thread of node n, which does so many of each in any order. One thread of each node is the one whose passes are
 * serialised by the consistency mutex: it releases, acquires and finishes.
 */
proctype thread(byte n; bool leads; byte acquires; byte releases; byte loads; byte stores; byte others)
{
	byte h, q, e, word;   /* home, publisher, number of an entry, entry */
	byte p, u, a, w;      /* pages: published, un-mapped, accessed; a word */
	byte taken, batch, hot, changed; /* sets of pages */
	byte heads[NODES], versions[PAGES], version;
	byte told[ALL_WORDS], wanted[ALL_WORDS];
	bool lost, write;
	byte before; /* of a glance: passes begun and ended */
	byte target;

	do
	:: acquires -> acquires--; acquire(n)
	:: releases -> releases--; release(n)
	:: loads ->
		loads--;
		select(a : 0 .. PAGES - 1);
		access(n, a);
		a = 0
	:: stores ->
		stores--;
		select(a : 0 .. PAGES - 1);
		write = true;
		target = OWN(n);
		access(n, a);
		a = 0
#if SHARED
	:: others -> others--; critical_section(n)
#elif defined(HOT) || defined(PRESUMED)
	:: others -> others--; glance_to_release(n)
#else
	:: others -> others--; glance(n)
#endif
	:: d_step { acquires + releases + loads + stores + others == 0 -> busy[n]-- } break
	od;
	if
	:: leads -> finish(n)
	:: !leads
	fi
}

init
{
	atomic {
		for (arrived : 0 .. NODES - 1) {
			busy[arrived]++
		}
		arrived = 0;
		/*         leads acquires releases loads stores others */
#if defined(CONFIG_PAIR)
		run thread(0, 1, 0, 2, 0, 2, 0);
		run thread(1, 1, 2, 1, 2, 1, 0);
#elif defined(CONFIG_OVERFLOW)
		run thread(0, 1, 0, 2, 0, 3, 0);
		run thread(1, 1, 2, 0, 2, 0, 0);
#elif defined(CONFIG_PAGES)
		run thread(0, 1, 0, 2, 0, 2, 0);
		run thread(1, 1, 1, 0, 2, 1, 0);
#elif defined(CONFIG_HOMES)
		run thread(0, 1, 1, 1, 1, 1, 0);
		run thread(1, 1, 1, 1, 1, 1, 0);
#elif defined(CONFIG_TRIO)
		run thread(0, 1, 0, 0, 0, 0, 0);
		run thread(1, 1, 1, 1, 1, 1, 0);
		run thread(2, 1, 1, 1, 0, 1, 0);
#elif defined(CONFIG_LOCK)
		run thread(0, 1, 0, 0, 0, 0, 1);
		run thread(1, 1, 0, 0, 0, 1, 1);
		run thread(2, 1, 0, 0, 0, 0, 1);
#elif defined(CONFIG_THREADS)
		run thread(0, 1, 0, 1, 0, 2, 0);
		run thread(1, 1, 1, 0, 0, 0, 0);
		run thread(1, 0, 0, 0, 2, 0, 1);
		busy[1]++
#elif defined(CONFIG_STORES)
		run thread(0, 1, 0, 0, 0, 1, 0);
		run thread(1, 1, 1, 1, 0, 1, 0);
		run thread(1, 0, 0, 0, 0, 2, 0);
		busy[1]++
#elif defined(CONFIG_PRESUMED)
		run thread(0, 1, 0, 1, 0, 1, 0);
		run thread(0, 0, 0, 0, 0, 1, 1);
		run thread(1, 1, 1, 0, 1, 1, 0);
		busy[0]++
#elif defined(CONFIG_HOT)
		run thread(0, 1, 0, 1, 0, 1, 0);
		run thread(1, 1, 1, 1, 0, 0, 0);
		run thread(1, 0, 0, 0, 0, 2, 1);
		busy[1]++
#endif
	}
}

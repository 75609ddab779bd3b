/*
 * Post-copy destination: the return path, and when the guest may run or pause
 *
 * Copyright (c) 2026 Postern developers
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 */

#ifndef MIGRATION_POSTCOPY_RETURN_PATH_H
#define MIGRATION_POSTCOPY_RETURN_PATH_H

/*
 * Values of pings.  Every source with a return path sends the first when a
 * migration begins.  It sends the second behind the devices' state, just before
 * the destination may run: its answer makes the source give up the guest.
 *
 * Only Postern sends the third: once it has the answer to the second, this
 * source does not start the guest when the return path ends without a
 * confirmation, but pauses.  Every destination answers unknown pings, so
 * this is compatible.
 */
#define POSTCOPY_PING_BEGIN 1
#define POSTCOPY_PING_DEVICES_LOADED 3
#define POSTCOPY_PING_SOURCE_PAUSES 0x504f5354

/**
 * postcopy_rp_ping: handle and answer a ping of the source
 * @mis: the incoming migration
 * @value: of the ping
 *
 * Context: the coroutine that loads the package, or the thread that loads the
 * main channel.
 * Returns: 0, or -1 after an error report if the ping must not be answered: the
 * devices are loaded, but the stream has failed in the meantime.
 */
int postcopy_rp_ping(MigrationIncomingState *mis, uint32_t value);

/**
 * postcopy_rp_may_run: may the guest run here, with the devices loaded?
 * @mis: the incoming migration; its state becomes postcopy-active if so
 *
 * If the answer to the ping could not be sent, a source of ours restarts the
 * guest.  Upstream's does so since 10.2.  An older one pauses, and then a
 * recovery needs the guest here.  The two cannot be told apart, so if the
 * source is not known to be ours, the guest runs here.
 *
 * Context: the coroutine that loads the package.
 * Returns: false, after an error report, if the guest must not run here.
 */
bool postcopy_rp_may_run(MigrationIncomingState *mis);

/**
 * postcopy_rp_running: loading a stream failed; does the guest stay here?
 * @mis: the incoming migration
 *
 * If the ping has not been answered yet, it never will be.  If it has been,
 * waits until the package is loaded.
 *
 * Context: the coroutine that loads the package, or the thread that loads the
 * main channel.
 * Returns: true if migration must pause, false if it fails.
 */
bool postcopy_rp_running(MigrationIncomingState *mis);

/**
 * postcopy_rp_section_error: has the stream failed before this section?
 * @f: the main channel
 * @section_type: of the section, or QEMU_VM_EOF
 *
 * The preempt channel counts as well, but not at the end with KVM userfault:
 * postcopy_rp_stream_ended() takes care of it there.
 *
 * Context: the thread that loads @f.
 * Returns: 0 or a negative errno.
 */
int postcopy_rp_section_error(QEMUFile *f, uint8_t section_type);

/**
 * postcopy_rp_stream_ended: everything on the main channel has arrived
 * @f: the main channel
 *
 * With KVM userfault, waits for the pages in the preempt channel.  (Otherwise
 * upstream's clean-up waits for them, and does not notice if that channel
 * breaks.)  If it breaks, these pages are lost.  A source that is not known to
 * pause cannot send them again, and when the return path ends it starts the
 * guest, which runs here.  So this keeps the return path open until the source
 * ends the main channel.
 *
 * Context: the thread that loads the main channel.
 * Returns: 0 if all pages are here, a negative errno if migration must pause.
 */
int postcopy_rp_stream_ended(QEMUFile *f);

/**
 * postcopy_rp_take_stream: take the main channel, to close it
 *
 * From now on, postcopy_rp_pause() does not use it.
 *
 * Context: the thread that pauses or ends the incoming migration.
 * Returns: the main channel, or NULL if there is none.
 */
QEMUFile *postcopy_rp_take_stream(MigrationIncomingState *mis);

/**
 * postcopy_rp_pause: break the main channel, so that migration pauses here
 * @errp: why that was not done
 *
 * Also ends the wait for pages of the preempt channel.  Refused if the source
 * would then start the guest, which runs here.
 *
 * Context: any thread.
 */
void postcopy_rp_pause(MigrationIncomingState *mis, Error **errp);

#endif

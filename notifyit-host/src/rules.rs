//! The rules by which no file is lost, each with the test that fails without it.
//!
//! Most of them keep a file from being lost, some from being handled twice, and a few the host from being a burden. A
//! rule that says several things has several rows. *Where* names modules of this crate; *held by* names the tests:
//! `tests::…` are those of the built host, in `tests/`, the others stand beside the code. A test sees to it that each
//! of them is there.
//!
//! # Is it complete?
//!
//! | | rule | where | held by |
//! |---|---|---|---|
//! | 1 | A close that the kernel tells of is an event without any question, whoever else has the file open. | `route` | `tests::busy::a_close_is_an_event_though_another_writer_has_the_file_open` |
//! | 1 | Any other file that appears or is found is asked for a lease, which the kernel grants only while nobody has it open or mapped for writing. | `deliver::complete` | `tests::events::a_file_that_is_still_written_has_not_landed` `tests::lossless::writers::one_that_writes_by_a_mapping` `tests::lossless::restarts::held_open_through_a_restart` |
//! | 1 | Asking waits for nobody, follows no link, and brings no signal that could end the host. | `sys` | `sys::tests::no_lease_is_had_of_what_is_no_regular_file_and_nothing_is_waited_for` `sys::tests::whoever_opens_a_file_while_its_lease_is_held_does_not_end_the_host` |
//! | 2 | A busy file is not skipped: it is asked again after 10 ms, doubling to 10 s. | `deliver::complete` | `tests::lossless::writers::one_whose_file_gets_its_name_late` `deliver::complete::tests::a_file_is_busy_while_someone_may_write_to_it` |
//! | 2 | One that has been busy for long has a watch of its own for one close, behind which it is asked from the beginning. | `source::closes` | `tests::busy::a_file_is_handled_as_soon_as_its_writer_closes_it_however_long_that_took` `tests::busy::the_second_of_two_writers_is_waited_for_too` `deliver::retry::tests::what_waits_for_a_writer_is_due_when_it_closes` `deliver::complete::tests::a_file_whose_writer_has_closed_it_is_asked_from_the_beginning` |
//! | 2 | A file on which another holds a lease is busy. | `sys` | `sys::tests::a_file_on_which_another_holds_a_lease_is_busy` |
//! | 2 | There are so many of these watches at most; beyond that the clock alone asks. | `source::closes` | `source::closes::tests::there_are_so_many_at_most_and_only_of_files` |
//! | 3 | Where no lease is to be had (another's file for a host without `CAP_LEASE`, a file system without leases), a file is complete when its stamp has not changed for `stable_for`. | `deliver::complete` | `tests::busy::without_a_lease_a_file_is_handled_when_it_has_not_changed_for_a_while` `deliver::complete::tests::where_the_kernel_gives_no_lease_a_file_is_complete_when_it_has_not_changed` |
//! | 4 | On a polled root no lease is asked for: `stable_for` decides. | `source::filesystem` | `deliver::complete::tests::without_a_lease_a_file_is_complete_when_it_has_not_changed` `source::filesystem::tests::what_inotify_cannot_see_is_polled_unless_it_is_told_otherwise` `tests::poll::a_polled_file_is_handled_when_it_has_not_changed_for_a_while` |
//! | 4 | Where inode numbers are made up, they are no part of a stamp. | `source::filesystem` | `deliver::complete::tests::where_inodes_do_not_last_another_one_is_no_change` |
//! | 5 | A file that has appeared and is free waits for a fence: if its close comes first, that is the event. | `deliver::worker` | `tests::events::an_ordinary_file_lands_once` `tests::lossless::writers::one_whose_file_gets_another_name_while_it_is_open` |
//! | 6 | `quiet` holds for whatever told of the file, a rescan included. | `deliver::attempt` | `tests::quiet::a_file_that_must_be_quiet_comes_once_however_often_it_is_closed` `tests::quiet::quiet_holds_for_what_is_renamed_in_and_for_what_a_start_finds` |
//!
//! # What is a version?
//!
//! | | rule | where | held by |
//! |---|---|---|---|
//! | 7 | A version is inode, size and modification time; a change of ctime alone is none. | `settle::version` | `settle::version::tests::ctime_and_mode_are_no_part_of_a_version` `tests::state::a_renamed_directory_and_a_change_of_owner_bring_nothing_again` `tests::lossless::restarts::what_changes_no_content_and_a_restart` |
//! | 7 | A close that is told is delivered whatever the stamp says. | `deliver::attempt` | `tests::events::a_close_is_told_though_the_file_looks_as_it_did` |
//! | 8 | A stamp that was taken within a grain of its own time is held: it is entered a grain and a fence later, and only if neither the file has a newer event nor the lane has lost any. | `deliver::racy` | `tests::grain::a_version_with_the_stamp_of_the_last_is_not_lost_by_a_kill` `deliver::worker::model::cases::a_racy_stamp_is_not_entered_while_a_newer_version_waits_for_its_next_try` `deliver::worker::model::cases::what_is_held_does_not_count_when_the_event_of_a_newer_version_of_its_stamp_was_lost` |
//! | 8 | How long a grain is follows from the file system, the kernel, and the stamp itself; a time in the future is not young. | `source::filesystem` | `source::filesystem::tests::a_time_is_as_fine_as_its_file_system_unless_it_is_in_whole_seconds` `source::filesystem::tests::a_stamp_is_racy_within_a_grain_of_its_own_time_and_not_before_it` |
//! | 9 | What is finished is the stamp from before the call: what has changed by its end is unfinished. | `deliver::attempt` | `tests::state::what_changes_during_its_handling_is_unfinished_however_that_ends` |
//! | 10 | A close that the handler itself has made, and that has changed nothing, is dropped. | `deliver::handled` | `tests::rewrites::a_handler_that_opens_its_file_for_writing_and_writes_nothing_gets_it_once` `deliver::handled::tests::what_was_changed_behind_the_call_is_no_echo_whatever_its_mtime` |
//! | 10 | What a handler says that it rewrote is finished as it has left it, and a write by another is a new version. | `deliver::echo` | `tests::rewrites::a_handler_that_says_that_it_rewrote_its_file_gets_it_once` `tests::rewrites::a_version_that_another_writes_while_its_file_is_replaced_is_handled` `tests::state::what_its_handler_rewrote_is_finished_at_the_next_start` |
//! | 10 | Whoever runs a program says for it that it rewrites its files. | the plugin `exec` | `tests::exec::exec_says_that_its_program_rewrites` |
//! | 10 | From the fifth round of one file in a row on, each waits, and it is said. | `deliver::echo` | `tests::rewrites::a_handler_that_goes_round_in_circles_is_slowed_down_and_told_so` `tests::rewrites::two_closes_in_each_call_are_no_storm` |
//!
//! # Which files?
//!
//! | | rule | where | held by |
//! |---|---|---|---|
//! | 11 | A new directory gets its watch first, and is listed then. | `source::follow` | `tests::lossless::trees::made_and_written_at_once` `tests::lossless::trees::each_in_its_own_new_four_level_directory` |
//! | 12 | What a rescan has found waits for a fence, and gives way to the file's own event if that comes first: it comes once. | `deliver::worker` | `tests::lossless::trees::made_and_written_at_once` `tests::lossless::trees::copied` `tests::lossless::trees::cloned` |
//! | 12 | A rescan skips what is finished, committed or not … | `deliver::inlet` | `tests::lossless::trees::synchronised` `tests::lossless::flood::more_than_a_slow_plugins_queue_holds` |
//! | 12 | … and what waits in the same version. | `deliver::attempt` | `tests::retries::files_that_fail_get_all_their_attempts_also_when_they_are_too_many_for_the_queue` |
//! | 13 | A file that is renamed has landed under its new name, and is told with its old one. | `route` | `tests::events::what_is_renamed_within_has_landed_under_its_new_name` |
//! | 13 | To a plugin that asked for close-write alone it stays finished … | `deliver::entrance` | `tests::lossless::restarts::renamed_when_it_was_finished` |
//! | 13 | … and is delivered if it did not want the old name. | `route` | `tests::lossless::writers::one_that_downloads_and_renames` `tests::lossless::writers::one_that_synchronises` |
//! | 13 | Work goes where its file or directory goes. | `source::renames` | `tests::renames::a_queued_file_is_delivered_once_and_by_its_new_name` `tests::renames::a_file_that_is_renamed_while_it_waits_for_its_next_attempt_is_tried_by_its_new_name` `tests::renames::a_file_that_is_renamed_while_it_is_in_hand_is_not_lost` `tests::renames::a_chain_of_renames_is_followed` |
//! | 13 | A missing file is gone only when two fences have shown no rename of it. | `deliver::worker` | `deliver::worker::model::cases::a_missing_file_is_not_gone_before_its_rename_was_told` `tests::renames::a_file_that_was_removed_while_it_waited_is_not_tried_for_ever` |
//! | 14 | A directory has one number wherever it is, and a rename takes along what is known beneath it. | `settle::ledger` | `settle::ledger::tests::a_directory_has_one_number_wherever_it_is_renamed_to` `tests::state::a_renamed_directory_and_a_change_of_owner_bring_nothing_again` `tests::lossless::restarts::a_directory_renamed_back_and_forth_before_a_restart` |
//! | 15 | What was there before a plugin first looked is finished once and for all, or delivered if asked; an interrupted first look is taken again with the same time. | `deliver::existing` `settle::first` | `tests::state::existing_files_are_skipped_once_and_for_all_or_delivered_if_asked` `tests::lossless::start::what_was_there_before_is_left_alone_by_default` `settle::first::tests::an_interrupted_first_look_is_taken_again_with_the_same_time` |
//! | 15 | Of a changed subscription only what it newly covers was there before. | `deliver::existing` `route::coverage` | `tests::subscriptions::a_subscription_that_covers_more_brings_nothing_old_of_what_it_covers_newly` `tests::subscriptions::what_was_there_before_is_skipped_also_when_the_queue_is_full` |
//! | 15 | An instance that is gone keeps its entries until it is forgotten by a person. | `settle::instances` | `tests::hot::comings::and_with_a_state_directory_too` `tests::replay::an_instance_that_is_forgotten_is_as_new` |
//! | 16 | A root is a device, an inode and a mount: another one is noticed without any event, and looked into. | `source::mounts` `source::roots` | `tests::roots::a_mount_over_a_root_and_its_end_lose_no_file_and_bring_none_again` `tests::roots::the_end_of_a_bind_mount_is_noticed_though_its_files_live_on` `tests::roots::an_ancestor_that_is_renamed_and_back_again_costs_no_file` |
//! | 16 | A root that may only be away has nothing forgotten. | `settle::prune` | `tests::prune::a_root_that_is_away_while_the_host_starts_loses_no_entries` `tests::roots::a_mount_over_a_root_and_its_end_lose_no_file_with_a_state_directory` |
//! | 16 | A root that is missing at the start is an error, unless it is to be waited for. | `source::roots` | `tests::tree::a_root_that_is_missing_is_an_error_or_waited_for` |
//! | 17 | A directory that is reached twice has one watch, which tells what either asks for. | `source::tree` | `tests::tree::overlapping_roots_that_ask_for_different_events_get_them_all` `tests::tree::overlapping_roots_blind_each_other_not` |
//! | 17 | One that refuses its watch is said, listed, and tried again. | `source::refused` | `tests::limits::a_directory_that_may_not_be_read_is_told_and_the_rest_is_watched` `tests::limits::what_lands_where_no_watch_is_left_is_found_by_listing` |
//! | 17 | The state and the plugins are in no watched directory. | `run` | `tests::state::a_state_directory_in_a_watched_one_is_refused` `tests::tree::a_directory_that_holds_the_plugins_is_not_watched` |
//!
//! # How much, and when?
//!
//! | | rule | where | held by |
//! |---|---|---|---|
//! | 18 | A full lane keeps no event: a rescan finds the file when there is room. So it is with what the kernel's queue has dropped. | `deliver::lane` `source::rescan` | `tests::lossless::flood::more_than_a_slow_plugins_queue_holds` `tests::lossless::flood::more_than_the_kernels_queue_holds` |
//! | 19 | A rescan waits for no lane: one that is full is looked for by itself when there is room, and keeps half of its queue for that. | `deliver::lane` `deliver::inlet` | `deliver::lane::tests::one_that_is_behind_keeps_half_of_its_queue_for_what_is_looked_for` `tests::lossless::flood::more_than_a_slow_plugins_queue_holds` |
//! | 20 | Retries wait in the ledger, with their count and their time, over a restart. | `settle::trouble` | `tests::retries::a_retry_goes_on_with_its_count_when_the_host_is_killed` `tests::retries::the_time_for_retries_is_not_given_anew_by_a_restart` |
//! | 20 | A lane pauses when ten different files in a row have failed. | `deliver::pause` | `tests::verdicts::a_lane_pauses_when_ten_different_files_failed_in_a_row` `deliver::pause::tests::ten_different_files_in_a_row_pause_and_one_success_goes_on` |
//! | 20 | What is the plugin's failure costs no file its attempts. | `deliver::worker` | `tests::exec::a_program_that_goes_missing_costs_no_file_its_attempts` |
//! | 20 | A newer version takes the place of one that waits, and of its dead letter. | `deliver::retry` | `deliver::retry::tests::a_newer_version_replaces_one_that_waits_and_other_events_wait_behind_it` `tests::dead::a_newer_version_closes_the_dead_letter_of_an_older_one` |
//! | 21 | An outcome counts when the flush behind it has worked; a flush that fails makes its burst a retry. | `deliver::burst` | `tests::state::what_a_plugin_has_not_flushed_comes_again_when_the_host_is_killed` `tests::verdicts::a_failed_flush_makes_its_burst_a_retry` |
//! | 21 | A full disk holds up no file. | `settle::room` | `tests::full::while_the_disk_of_the_ledger_is_full_files_are_handled_and_settled_when_there_is_room` `settle::room::tests::only_the_writer_waits_for_room_and_only_until_the_end` |
//! | 22 | Without a state directory the ledger holds hashes; what memory has no room for is in a file without a name. | `settle::memory` | `settle::memory::hashes::tests::what_memory_has_no_room_for_is_in_the_file` `settle::memory::spill::tests::its_file_has_no_name_and_is_for_nobody_else` |
//! | 22 | A stop says how many events it has left. | `deliver::worker` | `tests::shutdown::what_is_left_in_the_queue_is_counted` |
//! | 23 | What is gone is forgotten at a start, and when the ledger has doubled. | `source::prune` `settle::prune` | `settle::prune::tests::nothing_is_forgotten_beneath_a_root_that_may_be_away` `settle::prune::tests::a_ledger_is_pruned_when_it_has_doubled` `tests::prune::what_is_deleted_while_the_host_is_down_or_runs_is_forgotten_at_the_next_start` |
//! | 24 | Everything is looked at now and then; what that finds is delivered, and said. | `source::timers` | `tests::quiet::the_quiet_look_finds_what_no_event_has_told` |
//! | 25 | The id of a delivery is of watch, path, inode, size and modification time, and never changes. | `settle::version` | `settle::version::tests::the_identity_of_a_version_never_changes` `tests::dead::a_dead_letter_that_is_retried_is_delivered_once_as_a_replay` |
//! | 26 | A worker records the event that it begins: for the death of the host that event alone is blamed, or, if nobody knows whose thread it was, each that was in hand. What was done before comes again without blame. | `settle::recorder` | `tests::crashes::of_two_plugins_the_one_whose_thread_died_is_blamed_alone` `tests::crashes::if_nobody_knows_each_that_had_an_event_in_hand_is_blamed_and_no_one_else` `settle::recorder::deaths::tests::whose_thread_died_is_to_blame_alone_and_if_none_did_each_that_had_an_event` |
//! | 26 | A stop and another boot blame nobody; a full disk has no recorder. | `settle::recorder` | `tests::crashes::pages::a_stop_is_nobodys_crash_whatever_it_leaves_behind` `tests::crashes::pages::a_page_of_another_boot_blames_nobody` `tests::crashes::pages::a_full_disk_has_no_recorder_and_ends_no_host` |
//! | 26 | Three crashes are a dead letter; a success and a newer version end the count, failures do not. | `deliver::crashes` | `tests::crashes::a_file_that_ends_each_host_by_a_signal_is_a_dead_letter_after_three_and_all_else_is_handled` `tests::crashes::counts::crashes_are_counted_over_failures_in_between_and_not_over_a_success` `tests::crashes::counts::a_newer_version_is_tried_anew` |
//! | 27 | A command gets the file as its descriptor 3, opened and checked before it starts. | the plugin `exec` | `tests::exec::file_is_the_checked_descriptor` `tests::exec::a_link_swapped_in_is_not_opened` |
//!
//! # From one plugin to the next
//!
//! | | rule | where | held by |
//! |---|---|---|---|
//! | 28 | What is handed on is entered for each taker before the outcome of the event that it came with: a crash in between has it handed on twice, not never. | `deliver::emitted` | `tests::emitted::whatever_is_killed_everything_that_landed_goes_all_the_way` |
//! | 28 | Only with the verdict done, and all of one event or nothing. | `deliver::emitted` | `tests::emitted::a_file_goes_on_when_the_one_before_is_done_with_it_and_not_else` `tests::emitted::what_lies_beneath_no_watch_fails_with_its_reason` |
//! | 28 | What lies in an inbox and is not finished is unfinished, whoever looks: a full lane and a taker that is away lose nothing. | `deliver::inlet` `settle::inbox` | `tests::emitted::more_than_the_lane_has_room_for_comes_too` `tests::emitted::it_waits_for_a_taker_that_is_away` |
//! | 28 | An inbox names a version: another one has not been through the plugin before. | `deliver::attempt` | `tests::emitted::each_version_goes_on_once_and_only_through_the_one_before` |
//! | 28 | It goes along with renames. | `deliver::emitted` `deliver::entrance` | `tests::emitted::a_file_that_is_renamed_before_it_is_taken_goes_on_under_its_new_name` |
//! | 28 | What is full of outcomes that no disk takes forgets no inbox. | `settle::changes` | `settle::changes::tests::of_too_much_that_waits_the_inboxes_are_kept` |
//! | 28 | What goes in a circle comes to an end, and is a dead letter. | `deliver::emitted` | `tests::emitted::plugins_that_emit_in_a_circle_come_to_an_end` |
//!
//! # What is otherwise than one might think
//!
//! - A *fence* is no mark in the kernel's queue but a number of bytes: so many lay in it (`FIONREAD`), so many have been
//!   read since. It needs no watch, and a full queue cannot swallow it. The file is `source::fence`.
//! - A racy stamp (8) is not compared with special care: it is held, and so the ledger has none.
//! - No live event is dropped because a rescan was faster (12): what a rescan finds waits until it would be known.
//! - A file that is moved in, to a plugin that asked for close-write alone (15), is not entered as finished: whether it
//!   came from outside cannot be told for sure from an event, and one that is taken for such, and is not, would be lost.
//!   It is no event; a rescan that comes upon it delivers it.
//! - A busy file is in no list of its own (2): it waits in its lane, and counts there as queued.
//! - The file that a ledger in memory grows into (22) is a table of hashes, and shares no code with that of the state
//!   directory.

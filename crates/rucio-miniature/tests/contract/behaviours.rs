//! The suite: every behaviour by its module and name.

/// A test of each behaviour, against a stack of that kind.
macro_rules! behaviours {
    ($kind:ident) => {
        behaviours! { $kind,
            login {
                a_password_buys_a_token_and_its_end_is_told
                a_wrong_password_is_cannot_authenticate
                a_call_without_a_token_is_400_and_with_a_bad_one_401
                a_ping_needs_no_token
                whoami_points_to_the_account_of_the_token
            }
            rses {
                an_account_attribute_tells_who_is_admin
                an_expression_selects_rses
                a_wrong_expression_or_an_empty_selection_is_400
                an_rse_tells_its_attributes
                an_rse_tells_what_it_may_be_used_for_and_how_it_is_reached
                all_scopes_are_listed
                an_unknown_rse_or_account_is_404
            }
            collections {
                collections_are_added_all_or_none
                names_of_collections_are_not_validated
                an_unknown_scope_is_500_and_a_foreign_one_401
                a_container_holds_collections_of_one_kind
                a_name_is_a_dataset_or_a_container_and_stays_that
                a_container_takes_no_file_and_registers_none
                a_container_takes_datasets_and_containers_in_attachments_of_their_own
                what_dids_are_and_whether_they_are_open_is_read_in_bulk
                content_lists_what_is_directly_inside
                a_closed_dataset_takes_nothing_more
                what_is_no_json_is_400
            }
            attachments {
                one_call_registers_attaches_and_stores_metadata
                registering_again_is_fine_and_changes_nothing
                another_size_or_checksum_is_a_mismatch_and_nothing_is_registered
                an_unknown_parent_or_child_is_404_and_nothing_is_registered
                a_second_attachment_without_ignore_duplicate_is_409
                what_does_not_fit_the_schema_is_500_invalid_object
                an_unknown_rse_or_scope_is_500
                another_account_may_not_attach
            }
            metadata {
                the_ends_of_files_and_datasets_are_read_in_bulk
                bulkmeta_reads_the_json_store_and_omits_unknown_dids
                bulkdidsmeta_merges_keys
                bulkdidsmeta_writes_all_or_none
                another_account_may_not_write_metadata
                a_key_with_a_dot_is_refused
                names_of_did_columns_never_reach_the_json_store
                the_key_lifetime_sets_the_end_of_the_did
                more_than_a_thousand_dids_are_refused
            }
            replicas {
                an_unknown_did_gives_no_line
                copies_that_are_not_there_yet_show_with_all_states_only
                an_expression_restricts_the_copies_and_not_the_files
                pfns_are_given_for_the_schemes_asked_for
                a_dataset_lists_its_files
                what_replicas_list_refuses
            }
            rules {
                ids_come_in_the_order_of_the_dids_and_locks_at_once
                a_rule_tells_all_we_read
                a_duplicate_fails_the_whole_call
                a_source_expression_does_not_make_another_rule
                what_cannot_be_placed_is_409
                what_rucio_forbids_or_does_not_know_when_placing
                rules_are_found_by_did_and_by_filter
                the_rules_that_hold_a_file_are_listed_whatever_they_are_on_and_whosever_they_are
                an_unknown_rule_is_404_and_has_no_locks
                a_change_needs_rights_and_known_options
                delete_only_sets_the_end_one_hour_from_now
                a_locked_rule_cannot_be_deleted
            }
            replication {
                the_second_copy_follows_the_first_to_another_site
                a_rule_on_a_growing_dataset_says_ok_too_early_and_then_follows
                a_rule_on_an_empty_dataset_takes_up_what_is_attached_later
                two_copies_fed_from_where_none_is_yet_are_stuck
                a_source_with_other_bytes_never_arrives_until_it_is_mended_and_boosted
            }
            deletion {
                ending_the_on_site_rule_with_purge_deletes_the_file_there_and_only_there
                nothing_protects_the_last_copy
                another_rule_keeps_the_file
                what_is_declared_bad_can_be_taken_back_and_is_deleted_or_copied_again_if_not
            }
            settling {
                a_dataset_rule_takes_over_at_once_and_leaves_two_rules
                a_dataset_rule_over_several_places_locks_each_file_where_it_lies
                a_late_file_of_a_dataset_with_two_rules_gets_both_copies
                the_end_of_a_rule_can_be_taken_away
                a_suspended_rule_keeps_its_locks_and_gets_no_new_ones_until_it_is_set_to_stuck
            }
            through_the_client {
                a_file_goes_its_whole_road
                refusals_are_told_apart
            }
            storage {
                a_head_tells_size_and_digest
                an_unknown_algorithm_is_answered_with_adler32
                what_is_not_a_file_is_an_error
                an_adler32_asked_before_is_stale_when_bytes_change_under_their_mtime
                reading_gives_the_bytes
            }
        }
    };
    ($kind:ident, $($module:ident { $($name:ident)* })*) => {
        $(mod $module {
            $(#[tokio::test] async fn $name() {
                crate::$module::$name(&crate::stack::Stack::$kind().await).await;
            })*
        })*
    };
}

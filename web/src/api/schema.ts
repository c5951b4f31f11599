// Made by `npm run types` from docs/reference/openapi.json. Do not edit.
export interface paths {
    "/api/v1/agents": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Every Agent
         * @description Agents by name; destroyed ones whose files are kept too with `gone`.
         */
        get: operations["every_agent_api_v1_agents_get"];
        put?: never;
        /**
         * Create
         * @description Make an agent. It starts no process before there is mail for it.
         */
        post: operations["create_api_v1_agents_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * One
         * @description One agent.
         */
        get: operations["one_api_v1_agents__name__get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change
         * @description Change an agent.
         */
        patch: operations["change_api_v1_agents__name__patch"];
        trace?: never;
    };
    "/api/v1/agents/{name}/compact": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Compact
         * @description Compact the agent's conversation: at once when it is idle, else when its turn ends, before more mail.
         */
        post: operations["compact_api_v1_agents__name__compact_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/destroy": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Destroy
         * @description Destroy an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["destroy_api_v1_agents__name__destroy_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/interrupt": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Interrupt
         * @description Ask the agent's running turn to stop; its mail is given back and waits for the operator (D-18).
         */
        post: operations["interrupt_api_v1_agents__name__interrupt_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/new-session": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * New Session
         * @description Have the agent's next turn begin a new conversation. Its files, notes and mail stay.
         */
        post: operations["new_session_api_v1_agents__name__new_session_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/pause": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Pause
         * @description Pause an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["pause_api_v1_agents__name__pause_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/purge": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Purge
         * @description Purge an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["purge_api_v1_agents__name__purge_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/restart": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Restart
         * @description Restart an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["restart_api_v1_agents__name__restart_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/resume": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Resume
         * @description Resume an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["resume_api_v1_agents__name__resume_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start
         * @description Start an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["start_api_v1_agents__name__start_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop
         * @description Stop an agent. The wish is recorded; `changing` lasts until it is so.
         */
        post: operations["stop_api_v1_agents__name__stop_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/take-back": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Take Back
         * @description Take back a compaction or a new session that waits for the agent's turn to end.
         */
        post: operations["take_back_api_v1_agents__name__take_back_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/terminals": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin
         * @description Open a shell in the agent's box. The agent begins no turn until it is closed.
         */
        post: operations["begin_api_v1_agents__name__terminals_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/agents/{name}/turns": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Turns Of Agent
         * @description Turns of one agent, newest first.
         */
        get: operations["turns_of_agent_api_v1_agents__name__turns_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/backup": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Backup
         * @description Write a backup on the daemon's host (D-35).
         */
        post: operations["backup_api_v1_backup_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/costs": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Spent
         * @description What was spent by day, agent and model, newest day first, as counted at the gate.
         */
        get: operations["spent_api_v1_costs_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/doctor": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Doctor
         * @description Run every check, a real box included.
         */
        post: operations["doctor_api_v1_doctor_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream
         * @description Events as they happen. `event: reset` means: fetch the snapshot again (D-33).
         *
         *     With `rows` there is `event: rows` between them: `{"event", "agents", "gone", "hive"}`: whole rows of the
         *     snapshot that changed, names of agents that are no more, and the snapshot's `mail`, `turns`, `operations`,
         *     `spent`, `checked` and `disk` (its level and detail), or null when they did not change.
         */
        get: operations["stream_api_v1_events_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/events/page": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Page
         * @description Stored events, newest first; with `after` those above that number, oldest first.
         */
        get: operations["page_api_v1_events_page_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/files": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Show
         * @description A file to be shown.
         */
        get: operations["show_api_v1_files_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/files/download": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Download
         * @description The same file to be kept: never shown by a browser, whatever is in it.
         */
        get: operations["download_api_v1_files_download_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/folders": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Show
         * @description What lies in a folder, at most 1,000 entries. No link is followed.
         */
        get: operations["show_api_v1_folders_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/health": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Health
         * @description Disk, queues and lag at this moment.
         */
        get: operations["health_api_v1_health_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/inbox": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Operators Mail
         * @description The operator's messages, newest first. Changes nothing.
         */
        get: operations["operators_mail_api_v1_inbox_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/inbox/read": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Mark Read
         * @description Mark messages as read: they are handled.
         */
        post: operations["mark_read_api_v1_inbox_read_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/inbox/unread": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Unread
         * @description Unread messages that agents sent to the operator; with `wait`, as soon as there is one. Changes nothing.
         */
        get: operations["unread_api_v1_inbox_unread_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Login
         * @description Use a link up and get a session.
         */
        post: operations["login_api_v1_login_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login-links": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Make Link
         * @description Make a one-time login link: ten minutes, one use. The owner's only over the unix socket. Needs step-up.
         */
        post: operations["make_link_api_v1_login_links_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login-links/switch": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Switch
         * @description Let one-time links log people in, or not. Needs step-up.
         */
        post: operations["switch_api_v1_login_links_switch_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/oidc": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Finish
         * @description Log in by what the provider sent the browser back with.
         */
        post: operations["finish_api_v1_login_oidc_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/oidc/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Logged Out
         * @description The provider's own: a logout token says who has logged out there, and their sessions here end.
         */
        post: operations["logged_out_api_v1_login_oidc_logout_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/oidc/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Start
         * @description Where the browser goes to log in at the provider.
         */
        post: operations["start_api_v1_login_oidc_start_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/passkey": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Login
         * @description Log in by a passkey.
         */
        post: operations["login_api_v1_login_passkey_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/passkey/options": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Options
         * @description What `navigator.credentials.get` is given, on the login page.
         */
        post: operations["options_api_v1_login_passkey_options_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/recovery": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Recover
         * @description Log in by a recovery code, which is used up.
         */
        post: operations["recover_api_v1_login_recovery_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/login/ways": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Ways In
         * @description How one can log in here.
         */
        get: operations["ways_in_api_v1_login_ways_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/logout": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Logout
         * @description Revoke the session that asks.
         */
        post: operations["logout_api_v1_logout_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/me": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Me
         * @description Who asks, and what they may.
         */
        get: operations["me_api_v1_me_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/messages": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Messages
         * @description Messages of the whole hive, newest first.
         */
        get: operations["messages_api_v1_messages_get"];
        put?: never;
        /**
         * Send
         * @description Send a message. With a key, a repetition has no second effect and gets the first one's ids.
         */
        post: operations["send_api_v1_messages_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/messages/{message}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Message
         * @description One message, by `12` or `m12`.
         */
        get: operations["message_api_v1_messages__message__get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/messages/{message}/body": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Whole Body
         * @description The whole body of a message, also of a long one whose view holds only the first lines.
         */
        get: operations["whole_body_api_v1_messages__message__body_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/messages/{message}/retry": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Retry
         * @description Give a parked message a fresh start.
         */
        post: operations["retry_api_v1_messages__message__retry_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/passkeys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Mine
         * @description One's own passkeys.
         */
        get: operations["mine_api_v1_passkeys_get"];
        put?: never;
        /**
         * Add
         * @description Keep the passkey that the browser made.
         */
        post: operations["add_api_v1_passkeys_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/passkeys/{passkey}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Revoke
         * @description Revoke a passkey. Needs step-up.
         */
        delete: operations["revoke_api_v1_passkeys__passkey__delete"];
        options?: never;
        head?: never;
        /**
         * Rename
         * @description Give a passkey another label.
         */
        patch: operations["rename_api_v1_passkeys__passkey__patch"];
        trace?: never;
    };
    "/api/v1/passkeys/options": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Begin
         * @description What `navigator.credentials.create` is given, to add a passkey. Needs step-up.
         */
        post: operations["begin_api_v1_passkeys_options_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/people": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Everybody
         * @description Everybody by name, the disabled ones too.
         */
        get: operations["everybody_api_v1_people_get"];
        put?: never;
        /**
         * Add
         * @description Let somebody in. They need a way in: `POST /login-links` with their name. Needs step-up.
         */
        post: operations["add_api_v1_people_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/people/{name}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        /**
         * Change
         * @description Give somebody another role, shut them out, or let them in again. It counts at once. Needs step-up.
         */
        patch: operations["change_api_v1_people__name__patch"];
        trace?: never;
    };
    "/api/v1/people/{name}/identities": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Accounts
         * @description A person's accounts at the provider.
         */
        get: operations["accounts_api_v1_people__name__identities_get"];
        put?: never;
        /**
         * Link
         * @description Let whoever has an account come in as a person. Needs step-up.
         */
        post: operations["link_api_v1_people__name__identities_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/people/{name}/identities/{identity}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * Unlink
         * @description Take an account from a person. Needs step-up.
         */
        delete: operations["unlink_api_v1_people__name__identities__identity__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/people/{name}/passkeys": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Theirs
         * @description A person's passkeys.
         */
        get: operations["theirs_api_v1_people__name__passkeys_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/people/{name}/passkeys/{passkey}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End
         * @description Revoke a person's passkey. Needs step-up.
         */
        delete: operations["end_api_v1_people__name__passkeys__passkey__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/recovery-codes": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Codes
         * @description Make recovery codes; older ones are good no more. Needs step-up.
         */
        post: operations["codes_api_v1_recovery_codes_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Sessions
         * @description Sessions that go on: everybody's for an admin, else one's own.
         */
        get: operations["sessions_api_v1_sessions_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/sessions/{session}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End
         * @description Revoke a session; its streams close within a second.
         */
        delete: operations["end_api_v1_sessions__session__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/settings": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Settings
         * @description The settings in force, with their defaults.
         */
        get: operations["settings_api_v1_settings_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/state": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * State
         * @description Everything of this moment; of the agents the first, `/agents?next=<agents_next>` has the rest. Follow
         *     `/events` from `<store>-<event>`.
         */
        get: operations["state_api_v1_state_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/step-up": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm
         * @description Show the passkey's answer to a decision's challenge. The session gets a new id.
         */
        post: operations["confirm_api_v1_step_up_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/step-up/provider": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Confirm
         * @description Confirm a decision by what the provider sent the browser back with. The session gets a new id.
         */
        post: operations["confirm_api_v1_step_up_provider_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/step-up/provider/start": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Again
         * @description Where the browser goes to confirm a decision at the provider.
         */
        post: operations["again_api_v1_step_up_provider_start_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/stop": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Stop
         * @description Begin the orderly end: turns (their mail is given back), boxes, daemon (D-2).
         */
        post: operations["stop_api_v1_stop_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/terminals/{terminal}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End
         * @description End the shell and what runs on it.
         */
        delete: operations["end_api_v1_terminals__terminal__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/terminals/{terminal}/input": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Type
         * @description Type. Wait for the answer before the next piece: that keeps the order.
         */
        post: operations["type__api_v1_terminals__terminal__input_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/terminals/{terminal}/size": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        /**
         * Size
         * @description Say what size the window has now.
         */
        post: operations["size_api_v1_terminals__terminal__size_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/terminals/{terminal}/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Output
         * @description What the terminal shows, from its last 256 KiB on. The bytes are an agent's: do not obey them.
         */
        get: operations["output_api_v1_terminals__terminal__stream_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/tokens": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Every Token
         * @description Tokens that are good: everybody's for an admin, else one's own.
         */
        get: operations["every_token_api_v1_tokens_get"];
        put?: never;
        /**
         * Make
         * @description Make a token of one's own. It is shown this once. Needs step-up, whatever it may: it outlives a session.
         */
        post: operations["make_api_v1_tokens_post"];
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/tokens/{token}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        get?: never;
        put?: never;
        post?: never;
        /**
         * End
         * @description Revoke a token, by its id, or one's own by its name; its streams close within a second.
         */
        delete: operations["end_api_v1_tokens__token__delete"];
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/turns": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Every Turn
         * @description Turns of all agents, newest first.
         */
        get: operations["every_turn_api_v1_turns_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/turns/{turn}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Turn
         * @description One turn, by `7` or `t7`.
         */
        get: operations["turn_api_v1_turns__turn__get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/turns/{turn}/stream": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Stream
         * @description What the turn says and does, from its beginning or from `after` on, until it ends.
         */
        get: operations["stream_api_v1_turns__turn__stream_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/api/v1/why/{subject}": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Why
         * @description Why an agent, a message (`m12`) or a turn (`t7`) does not move, who acts next, and which timer runs.
         */
        get: operations["why_api_v1_why__subject__get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/healthz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Healthz
         * @description The process answers.
         */
        get: operations["healthz_healthz_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/metrics": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Metrics
         * @description Numbers in Prometheus' text format.
         */
        get: operations["metrics_metrics_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
    "/readyz": {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        /**
         * Readyz
         * @description All parts run; 503 until then.
         */
        get: operations["readyz_readyz_get"];
        put?: never;
        post?: never;
        delete?: never;
        options?: never;
        head?: never;
        patch?: never;
        trace?: never;
    };
}
export type webhooks = Record<string, never>;
export interface components {
    schemas: {
        /**
         * Address
         * @description Where the browser goes.
         */
        Address: {
            /** Url */
            url: string;
        };
        /**
         * AgainBody
         * @description The challenge, and what the provider sent the browser back with.
         */
        AgainBody: {
            /**
             * Code
             * @default
             */
            code?: string;
            /**
             * Error
             * @default
             */
            error?: string;
            /** Id */
            id: string;
            /** Iss */
            iss?: string | null;
            /** State */
            state: string;
        };
        /**
         * AgainStart
         * @description The challenge that is confirmed at the provider.
         */
        AgainStart: {
            /** Id */
            id: string;
        };
        /**
         * AgentContext
         * @description How full the model's context was at the end of the last turn that tells.
         */
        AgentContext: {
            /** Tokens */
            tokens: number | null;
            /** Window */
            window: number | null;
        };
        /**
         * AgentDetail
         * @description One agent, with its folder on the host and the limits of its box.
         */
        AgentDetail: {
            /** Budget Usd */
            budget_usd: number | null;
            context: components["schemas"]["AgentContext"];
            /** Crashes */
            crashes: number;
            /** Created At */
            created_at: string;
            /** Detail */
            detail: string | null;
            /** Engine */
            engine: string;
            /** Id */
            id: string;
            /** Limits */
            limits: components["schemas"]["LimitView"][];
            /** Model */
            model: string | null;
            /** Name */
            name: string;
            /** Paused At */
            paused_at: string | null;
            /** Paused By */
            paused_by: string | null;
            pending: components["schemas"]["Pending"] | null;
            /** Reason */
            reason: string | null;
            /** Role */
            role: string;
            /** Send Allow */
            send_allow: string[] | null;
            /** Since */
            since: string;
            /** Spent Usd */
            spent_usd: number;
            /** State */
            state: string;
            /** Status */
            status: string | null;
            /** Status At */
            status_at: string | null;
            /** Turn */
            turn: number | null;
            /** Turns Per Hour */
            turns_per_hour: number | null;
            /** Until */
            until: string | null;
            /** Waiting */
            waiting: number;
            /** Wish */
            wish: string;
            /** Work Folder */
            work_folder: string;
        };
        /**
         * Agents
         * @description A page of agents, by name. `next` is the name after which the next page begins.
         */
        Agents: {
            /** Items */
            items: components["schemas"]["AgentView"][];
            /** Next */
            next: string | null;
        };
        /**
         * AgentView
         * @description An agent.
         */
        AgentView: {
            /** Budget Usd */
            budget_usd: number | null;
            context: components["schemas"]["AgentContext"];
            /** Crashes */
            crashes: number;
            /** Created At */
            created_at: string;
            /** Detail */
            detail: string | null;
            /** Engine */
            engine: string;
            /** Id */
            id: string;
            /** Model */
            model: string | null;
            /** Name */
            name: string;
            /** Paused At */
            paused_at: string | null;
            /** Paused By */
            paused_by: string | null;
            pending: components["schemas"]["Pending"] | null;
            /** Reason */
            reason: string | null;
            /** Role */
            role: string;
            /** Send Allow */
            send_allow: string[] | null;
            /** Since */
            since: string;
            /** Spent Usd */
            spent_usd: number;
            /** State */
            state: string;
            /** Status */
            status: string | null;
            /** Status At */
            status_at: string | null;
            /** Turn */
            turn: number | null;
            /** Turns Per Hour */
            turns_per_hour: number | null;
            /** Until */
            until: string | null;
            /** Waiting */
            waiting: number;
            /** Wish */
            wish: string;
        };
        /**
         * AskedFor
         * @description An operation that was asked for; the agent's `pending` shows it until it is over.
         */
        AskedFor: {
            /** Name */
            name: string;
            /** Operation */
            operation: string;
        };
        /**
         * BackupTo
         * @description Where a backup goes.
         */
        BackupTo: {
            /**
             * Homes
             * @description With the agents' homes, which hold engine sessions.
             * @default false
             */
            homes?: boolean;
            /**
             * Path
             * @description An absolute path on the daemon's host; it must not exist yet.
             */
            path: string;
        };
        /**
         * BodyView
         * @description The whole body of a message.
         */
        BodyView: {
            /** Body */
            body: string;
            /** Files */
            files: string[];
            /** Files Cut */
            files_cut: boolean;
            /** Id */
            id: number;
        };
        /**
         * Changes
         * @description Changes of an agent; what is absent stays.
         */
        Changes: {
            /** Budget Usd */
            budget_usd?: number | null;
            /** Model */
            model?: string | null;
            /** Playbook */
            playbook?: string | null;
            /** Role */
            role?: ("worker" | "manager") | null;
            /** Send Allow */
            send_allow?: string[] | null;
            /** Turns Per Hour */
            turns_per_hour?: number | null;
        };
        /**
         * CheckView
         * @description The last look at the database's integrity: `ok`, `damaged` or `cut` (it took too long).
         */
        CheckView: {
            /** At */
            at: string;
            /** Problem */
            problem: string | null;
            /** Result */
            result: string;
            /** Why */
            why: string;
        };
        /**
         * Codes
         * @description New recovery codes; shown this once.
         */
        Codes: {
            /** Codes */
            codes: string[];
        };
        /**
         * Confirmation
         * @description A passkey's answer to the challenge of a decision.
         */
        Confirmation: {
            /** Answer */
            answer: {
                [key: string]: unknown;
            };
            /** Id */
            id: string;
        };
        /**
         * ContextView
         * @description How full the model's context is: tokens of the last call's prompt, and the window if known.
         */
        ContextView: {
            /** Tokens */
            tokens: number | null;
            /** Window */
            window: number | null;
        };
        /**
         * Costs
         * @description Costs from `since` on, newest day first.
         */
        Costs: {
            /** Agent Budget Usd */
            agent_budget_usd: number | null;
            /** At */
            at: string;
            /** Budget Usd */
            budget_usd: number | null;
            /** Day */
            day: string;
            /** Day Ends At */
            day_ends_at: string;
            /** Items */
            items: components["schemas"]["CostView"][];
            /** Last Hour Usd */
            last_hour_usd: number;
            /** Since */
            since: string;
            /** Usd */
            usd: number;
        };
        /**
         * CostView
         * @description Model calls of one agent with one model on one of the operator's days.
         */
        CostView: {
            /** Agent */
            agent: string;
            /** Cache Creation */
            cache_creation: number;
            /** Cache Read */
            cache_read: number;
            /** Calls */
            calls: number;
            /** Day */
            day: string;
            /** Estimated */
            estimated: number;
            /** Input */
            input: number;
            /** Model */
            model: string;
            /** Output */
            output: number;
            /** Usd */
            usd: number;
        };
        /**
         * DaemonView
         * @description The daemon's process; null when none runs.
         */
        DaemonView: {
            /** Pid */
            pid: number;
            /** Started At */
            started_at: string;
            /** Version */
            version: string;
        };
        /**
         * Disk
         * @description The file system that the data folder lies on, in bytes.
         */
        Disk: {
            /** Free */
            free: number;
            /** Total */
            total: number;
        };
        /**
         * DiskView
         * @description Room on the disk of the data folder. `level` is `ok`, `low` (no new turns) or `full` (the hive only reads);
         *     `detail` is what that means, null when all is well.
         */
        DiskView: {
            /** Detail */
            detail: string | null;
            /** Floor Bytes */
            floor_bytes: number;
            /** Free Bytes */
            free_bytes: number;
            /** Level */
            level: string;
        };
        /**
         * EntryView
         * @description A file, or a folder, which has no size.
         */
        EntryView: {
            /** Folder */
            folder: boolean;
            /** Modified At */
            modified_at: string;
            /** Name */
            name: string;
            /** Size */
            size: number | null;
        };
        /**
         * Events
         * @description A page of events.
         */
        Events: {
            /** Items */
            items: components["schemas"]["EventView"][];
            /** Next */
            next: number | null;
        };
        /**
         * EventView
         * @description Something that happened; `id` is its number, ever growing.
         */
        EventView: {
            /** Agent */
            agent: string | null;
            /** At */
            at: string;
            /** By */
            by: string;
            /** Data */
            data: {
                [key: string]: unknown;
            };
            /** Id */
            id: number;
            /** Kind */
            kind: string;
            /** Person */
            person: string | null;
            /** Request Id */
            request_id: string | null;
            /** Subject */
            subject: string | null;
            /** Via */
            via: string | null;
        };
        /**
         * FileView
         * @description A file of at most 1 MiB. Exactly one of `text` and `base64` is there.
         */
        FileView: {
            /** Base64 */
            base64: string | null;
            /** Modified At */
            modified_at: string;
            /** Path */
            path: string;
            /** Size */
            size: number;
            /** Text */
            text: string | null;
        };
        /**
         * FolderView
         * @description What lies in a folder: folders first, then files, by name.
         */
        FolderView: {
            /** Entries */
            entries: components["schemas"]["EntryView"][];
            /** More */
            more: boolean;
            /** Path */
            path: string;
            /** Unnamed */
            unnamed: number;
        };
        /**
         * Health
         * @description The daemon at this moment; `mel doctor` looks at the machine.
         */
        Health: {
            /** At */
            at: string;
            /** Data */
            data: string;
            disk: components["schemas"]["Disk"];
            /** Events */
            events: number;
            /** Gauges */
            gauges: {
                [key: string]: number;
            };
            /** Live Streams */
            live_streams: number;
            /** Loop Lag Seconds */
            loop_lag_seconds: number;
            mail: components["schemas"]["MailCounts"];
            /** Pid */
            pid: number;
            reach: components["schemas"]["Reach"];
            /** Started At */
            started_at: string;
            /** Version */
            version: string;
        };
        /**
         * Identities
         * @description Somebody's accounts.
         */
        Identities: {
            /** Items */
            items: components["schemas"]["IdentityView"][];
            /** Next */
            next: null;
        };
        /**
         * IdentityView
         * @description An account that logs somebody in.
         */
        IdentityView: {
            /** Created At */
            created_at: string;
            /** Email */
            email: string | null;
            /** Id */
            id: string;
            /** Issuer */
            issuer: string;
            /** Seen At */
            seen_at: string | null;
            /** Subject */
            subject: string | null;
        };
        /**
         * Label
         * @description What somebody calls a passkey.
         */
        Label: {
            /** Label */
            label: string;
        };
        /**
         * Landing
         * @description Where the page goes now.
         */
        Landing: {
            /** Next */
            next: string;
        };
        /**
         * LimitView
         * @description One limit of a box as it really binds on this machine, or why it does not.
         */
        LimitView: {
            /** Binds */
            binds: boolean;
            /** How */
            how: string;
            /** Name */
            name: string;
        };
        /**
         * LinkView
         * @description A one-time link; shown this once.
         */
        LinkView: {
            /** Ends At */
            ends_at: string;
            /** Url */
            url: string;
        };
        /**
         * MadeToken
         * @description A token that was just made.
         */
        MadeToken: {
            made: components["schemas"]["TokenView"];
            /** Token */
            token: string;
        };
        /**
         * MailCounts
         * @description Agents' mail by state, and what the operator has not read.
         */
        MailCounts: {
            /** Leased */
            leased: number;
            /** Parked */
            parked: number;
            /** Unread */
            unread: number;
            /** Waiting */
            waiting: number;
        };
        /**
         * Marked
         * @description How many messages were unread before.
         */
        Marked: {
            /** Marked */
            marked: number;
        };
        /**
         * Me
         * @description Who asks.
         */
        Me: {
            /** Login */
            login: string | null;
            /** May */
            may: string[];
            /** Method */
            method: string;
            /** Outside */
            outside: boolean;
            /** Owner */
            owner: boolean;
            /** Person */
            person: string;
            /** Role */
            role: string;
            /** Verified At */
            verified_at: string | null;
        };
        /**
         * Tokens
         * @description Tokens that are good.
         */
        melipona__access__token_routes__Tokens: {
            /** Items */
            items: components["schemas"]["TokenView"][];
            /** Next */
            next: null;
        };
        /**
         * Tokens
         * @description Tokens of a turn's model calls as the upstream counted them; null when nothing was counted.
         */
        melipona__views__turns__Tokens: {
            /** Cache Creation */
            cache_creation: number | null;
            /** Cache Read */
            cache_read: number | null;
            /** Input */
            input: number | null;
            /** Output */
            output: number | null;
        };
        /**
         * Messages
         * @description A page of messages, newest first.
         */
        Messages: {
            /** Items */
            items: components["schemas"]["MessageView"][];
            /** Next */
            next: number | null;
        };
        /**
         * MessageView
         * @description A message.
         */
        MessageView: {
            /** Attempts */
            attempts: number;
            /** Body */
            body: string;
            /** Body Bytes */
            body_bytes: number;
            /** Body Path */
            body_path: string | null;
            /** Broadcast Id */
            broadcast_id: string | null;
            /** Failures */
            failures: number;
            /** Files */
            files: string[];
            /** Files Cut */
            files_cut: boolean;
            /** Id */
            id: number;
            /** Kind */
            kind: string;
            /** Last Error */
            last_error: string | null;
            /** Maybe Seen */
            maybe_seen: boolean;
            /** Next Try At */
            next_try_at: string | null;
            /** Recipient */
            recipient: string;
            /** Reply To */
            reply_to: number | null;
            /** Sender */
            sender: string;
            /** Sent At */
            sent_at: string;
            /** Since */
            since: string;
            /** State */
            state: string;
            /** Thread */
            thread: number | null;
            /** Turn */
            turn: number | null;
            /** Wake */
            wake: boolean;
        };
        /**
         * NewAgent
         * @description An agent to be made.
         */
        NewAgent: {
            /**
             * Budget Usd
             * @description A day; 0 means no limit, null the default.
             */
            budget_usd?: number | null;
            /**
             * Engine
             * @description `claude` or `playbook`.
             */
            engine: string;
            /** Model */
            model?: string | null;
            /**
             * Name
             * @description 1 to 32 of a-z, 0-9 and dash.
             */
            name: string;
            /**
             * Playbook
             * @description The text of a playbook file, for the engine of that name.
             */
            playbook?: string | null;
            /**
             * Role
             * @default worker
             * @enum {string}
             */
            role?: "worker" | "manager";
            /**
             * Send Allow
             * @description Names it may write to; null means everybody.
             */
            send_allow?: string[] | null;
            /**
             * Turns Per Hour
             * @description 0 means no limit, null the default.
             */
            turns_per_hour?: number | null;
        };
        /**
         * NewIdentity
         * @description An account at the provider: by its subject, or by a verified address.
         */
        NewIdentity: {
            /** Email */
            email?: string | null;
            /** Subject */
            subject?: string | null;
        };
        /**
         * NewLink
         * @description For whom a link is, and from where it is good.
         */
        NewLink: {
            /**
             * Outside
             * @description Good from elsewhere than the hive's own machine too.
             * @default false
             */
            outside?: boolean;
            /**
             * Person
             * @description A person's name; null is the hive's owner.
             */
            person?: string | null;
        };
        /**
         * NewMessage
         * @description A message to send.
         */
        NewMessage: {
            /** Body */
            body: string;
            /**
             * Key
             * @description The same as the header Idempotency-Key.
             */
            key?: string | null;
            /**
             * Reply To
             * @description The message that this one answers.
             */
            reply_to?: number | null;
            /**
             * To
             * @description An agent's name, or `*` for all agents.
             */
            to: string;
            /**
             * Wake
             * @description False lets it ride along with the recipient's next turn.
             * @default true
             */
            wake?: boolean;
        };
        /**
         * NewPasskey
         * @description A passkey that the browser has just made.
         */
        NewPasskey: {
            /**
             * Answer
             * @description `PublicKeyCredential.toJSON()`.
             */
            answer: {
                [key: string]: unknown;
            };
            /** Label */
            label: string;
        };
        /**
         * NewPerson
         * @description Somebody who may come in from now on.
         */
        NewPerson: {
            /**
             * Name
             * @description 1 to 32 of a-z, 0-9, `.`, `_` and `-`, beginning with a letter.
             */
            name: string;
            /** @default viewer */
            role?: components["schemas"]["Role"];
        };
        /**
         * NewToken
         * @description A token to be made.
         */
        NewToken: {
            /**
             * Days
             * @description How long it is good.
             * @default 30
             */
            days?: number;
            /**
             * Name
             * @description What it is for.
             */
            name: string;
            /**
             * Scopes
             * @description At most what you may yourself.
             * @default [
             *       "act",
             *       "read"
             *     ]
             */
            scopes?: components["schemas"]["Scope"][];
        };
        /**
         * OidcLoginBody
         * @description What the provider sent the browser back with.
         */
        OidcLoginBody: {
            /**
             * Code
             * @default
             */
            code?: string;
            /**
             * Error
             * @default
             */
            error?: string;
            /** Iss */
            iss?: string | null;
            /**
             * Next
             * @description The page to open then; anything else than a page is `/`.
             * @default /
             */
            next?: string;
            /** State */
            state: string;
        };
        /**
         * OperationView
         * @description Something in flight, and since when.
         */
        OperationView: {
            /** Agent Id */
            agent_id: string | null;
            /** By */
            by: string;
            /** Detail */
            detail: string | null;
            /** Id */
            id: string;
            /** Kind */
            kind: string;
            /** Started At */
            started_at: string;
        };
        /**
         * PasskeyList
         * @description Somebody's passkeys, and what else lets them in.
         */
        PasskeyList: {
            /** Codes */
            codes: number;
            /** Items */
            items: components["schemas"]["PasskeyView"][];
            /** Links */
            links: boolean;
            /** Next */
            next: null;
            place: components["schemas"]["PlaceView"];
        };
        /**
         * PasskeyLogin
         * @description A login by a passkey.
         */
        PasskeyLogin: {
            /** Answer */
            answer: {
                [key: string]: unknown;
            };
            /**
             * Next
             * @description The page to open then; anything else than a page is `/`.
             * @default /
             */
            next?: string;
        };
        /**
         * PasskeyView
         * @description A passkey.
         */
        PasskeyView: {
            /** Created At */
            created_at: string;
            /** Id */
            id: string;
            /** Label */
            label: string;
            /** Last Used At */
            last_used_at: string | null;
            /** Site */
            site: string;
            /** Transports */
            transports: string[];
        };
        /**
         * Pending
         * @description What is in flight for an agent: a verb, a terminal, or what waits for its turn to end.
         */
        Pending: {
            /** By */
            by: string;
            /** Detail */
            detail: string | null;
            /** Id */
            id: string;
            /** Kind */
            kind: string;
            /** Since */
            since: string;
        };
        /**
         * People
         * @description Everybody.
         */
        People: {
            /** Items */
            items: components["schemas"]["PersonView"][];
            /** Next */
            next: null;
        };
        /**
         * PersonChanges
         * @description Changes of a person; what is absent stays.
         */
        PersonChanges: {
            /**
             * Disabled
             * @description True ends their sessions, links and tokens at once.
             */
            disabled?: boolean | null;
            role?: components["schemas"]["Role"] | null;
        };
        /**
         * PersonView
         * @description Somebody who may come in.
         */
        PersonView: {
            /** Created At */
            created_at: string;
            /** Disabled At */
            disabled_at: string | null;
            /** Name */
            name: string;
            /** Owner */
            owner: boolean;
            /** Role */
            role: string;
        };
        /**
         * PlaceView
         * @description Whether passkeys work at the address that is asked.
         */
        PlaceView: {
            /** Address */
            address: string;
            /** Here */
            here: boolean;
            /** Why */
            why: string;
        };
        /**
         * Problem
         * @description Why a request failed.
         */
        Problem: {
            /** Code */
            code: string;
            /** Detail */
            detail: string;
            /** Remedy */
            remedy: string;
            /** Request Id */
            request_id: string | null;
            /** Status */
            status: number;
            /** Title */
            title: string;
            /** Type */
            type: string;
        };
        /**
         * Reach
         * @description How far the hive can be reached, and whether that is well.
         */
        Reach: {
            /** Detail */
            detail: string;
            /** Ok */
            ok: boolean;
            /** Remedy */
            remedy: string;
        };
        /**
         * Read
         * @description Messages that the operator has read.
         */
        Read: {
            /**
             * Ids
             * @description Null means all.
             */
            ids?: number[] | null;
        };
        /**
         * RecoveryLogin
         * @description A login by a recovery code.
         */
        RecoveryLogin: {
            /** Code */
            code: string;
            /**
             * Next
             * @description The page to open then; anything else than a page is `/`.
             * @default /
             */
            next?: string;
        };
        /**
         * Role
         * @description What a person is in a hive.
         * @enum {string}
         */
        Role: "viewer" | "operator" | "admin";
        /**
         * Scope
         * @description What a token may, at most what its person may.
         * @enum {string}
         */
        Scope: "read" | "act" | "approve";
        /**
         * SentView
         * @description What became of a message that was sent.
         */
        SentView: {
            /** Id */
            id: number;
            /** Ids */
            ids: number[];
            /** Note */
            note: string;
            /** Repeated */
            repeated: boolean;
            /** Thread */
            thread: number | null;
        };
        /**
         * Sessions
         * @description Sessions that go on.
         */
        Sessions: {
            /** Items */
            items: components["schemas"]["SessionView"][];
            /** Next */
            next: null;
        };
        /**
         * SessionView
         * @description Somebody is logged in.
         */
        SessionView: {
            /** Address */
            address: string | null;
            /** Created At */
            created_at: string;
            /** Current */
            current: boolean;
            /** Ends At */
            ends_at: string;
            /** Id */
            id: string;
            /** Method */
            method: string;
            /** Outside */
            outside: boolean;
            /** Person */
            person: string;
            /** Role */
            role: string;
            /** Seen At */
            seen_at: string;
            /** User Agent */
            user_agent: string;
        };
        /**
         * SettingsView
         * @description Every setting. None holds a secret: a key is named by its file.
         */
        SettingsView: {
            /** Items */
            items: components["schemas"]["SettingView"][];
            /** Next */
            next: null;
        };
        /**
         * SettingView
         * @description One setting of `mel.toml` as it is in force.
         */
        SettingView: {
            /** Default */
            default: unknown;
            /** Description */
            description: string;
            /** Key */
            key: string;
            /** Value */
            value: unknown;
        };
        /**
         * Size
         * @description A window's size in characters.
         */
        Size: {
            /**
             * Columns
             * @default 80
             */
            columns?: number;
            /**
             * Rows
             * @default 24
             */
            rows?: number;
        };
        /**
         * Spent
         * @description Money of the operator's day; `budget_usd` is null without a limit, and so is `agent_budget_usd`, the default of
         *     agents without a budget of their own.
         */
        Spent: {
            /** Agent Budget Usd */
            agent_budget_usd: number | null;
            /** Budget Usd */
            budget_usd: number | null;
            /** Day */
            day: string;
            /** Usd */
            usd: number;
        };
        /**
         * StateView
         * @description The snapshot. Follow `/api/v1/events` from `<store>-<event>`.
         */
        StateView: {
            /** Agents */
            agents: components["schemas"]["AgentView"][];
            /** Agents Next */
            agents_next: string | null;
            /** Agents Total */
            agents_total: number;
            /** Api */
            api: string | null;
            /** At */
            at: string;
            checked: components["schemas"]["CheckView"] | null;
            daemon: components["schemas"]["DaemonView"] | null;
            /** Data */
            data: string;
            disk: components["schemas"]["DiskView"] | null;
            /** Event */
            event: number;
            mail: components["schemas"]["MailCounts"];
            /** Name */
            name: string;
            /** Operations */
            operations: components["schemas"]["OperationView"][];
            spent: components["schemas"]["Spent"];
            /** Store */
            store: string;
            /** Turns */
            turns: number;
        };
        /**
         * Switch
         * @description Whether one-time links log people in.
         */
        Switch: {
            /** On */
            on: boolean;
        };
        /**
         * TerminalView
         * @description A terminal that was opened.
         */
        TerminalView: {
            /** Agent */
            agent: string;
            /** Id */
            id: string;
        };
        /**
         * Token
         * @description The token of a link.
         */
        Token: {
            /** Token */
            token: string;
        };
        /**
         * TokenView
         * @description A token, without its secret.
         */
        TokenView: {
            /** Created At */
            created_at: string;
            /** Ends At */
            ends_at: string;
            /** Id */
            id: string;
            /** Last Address */
            last_address: string | null;
            /** Last Used At */
            last_used_at: string | null;
            /** Name */
            name: string;
            /** Person */
            person: string;
            /** Scopes */
            scopes: string[];
        };
        /**
         * Turns
         * @description A page of turns, newest first.
         */
        Turns: {
            /** Items */
            items: components["schemas"]["TurnView"][];
            /** Next */
            next: number | null;
        };
        /**
         * TurnView
         * @description A turn: one run of an engine, from what woke it to its result.
         */
        TurnView: {
            /** Agent */
            agent: string;
            /** Cause */
            cause: {
                [key: string]: unknown;
            };
            /** Compacted */
            compacted: boolean;
            context: components["schemas"]["ContextView"];
            /** Cost Usd */
            cost_usd: number | null;
            /** Duration Ms */
            duration_ms: number | null;
            /** Ended At */
            ended_at: string | null;
            /** Id */
            id: number;
            /** Interrupt By */
            interrupt_by: string | null;
            /** Model */
            model: string | null;
            /** Note */
            note: string | null;
            /** Open Threads */
            open_threads: number | null;
            /** Reason */
            reason: string | null;
            /** Result */
            result: string | null;
            /** Since */
            since: string;
            /** Started At */
            started_at: string;
            /** State */
            state: string;
            tokens: components["schemas"]["melipona__views__turns__Tokens"];
            /** Tool Calls */
            tool_calls: number | null;
            /** Tools */
            tools: {
                [key: string]: number;
            };
        };
        /**
         * Typed
         * @description What was typed.
         */
        Typed: {
            /**
             * Data
             * @description Base64, at most 64 KiB of bytes.
             */
            data: string;
        };
        /**
         * WaysIn
         * @description How one can log in from the address that is asked.
         */
        WaysIn: {
            /** Links */
            links: boolean;
            /** Passkeys */
            passkeys: boolean;
            place: components["schemas"]["PlaceView"];
            /** Provider */
            provider: string | null;
        };
    };
    responses: never;
    parameters: never;
    requestBodies: never;
    headers: never;
    pathItems: never;
}
export type $defs = Record<string, never>;
export interface operations {
    every_agent_api_v1_agents_get: {
        parameters: {
            query?: {
                gone?: boolean;
                /** @description Most agents of one page. */
                limit?: number;
                /** @description `next` of the page before. */
                next?: string | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Agents"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    create_api_v1_agents_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewAgent"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    one_api_v1_agents__name__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    change_api_v1_agents__name__patch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Changes"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    compact_api_v1_agents__name__compact_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskedFor"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    destroy_api_v1_agents__name__destroy_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    interrupt_api_v1_agents__name__interrupt_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    new_session_api_v1_agents__name__new_session_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskedFor"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    pause_api_v1_agents__name__pause_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    purge_api_v1_agents__name__purge_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    restart_api_v1_agents__name__restart_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    resume_api_v1_agents__name__resume_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    start_api_v1_agents__name__start_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    stop_api_v1_agents__name__stop_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AgentDetail"] | {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    take_back_api_v1_agents__name__take_back_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["AskedFor"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    begin_api_v1_agents__name__terminals_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Size"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TerminalView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    turns_of_agent_api_v1_agents__name__turns_get: {
        parameters: {
            query?: {
                /** @description Most items of one page. */
                limit?: number;
                /** @description `next` of the page before. */
                next?: number | null;
            };
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Turns"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    backup_api_v1_backup_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["BackupTo"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    spent_api_v1_costs_get: {
        parameters: {
            query?: {
                /** @description How many days, today included. */
                days?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Costs"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    doctor_api_v1_doctor_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    stream_api_v1_events_get: {
        parameters: {
            query?: {
                /** @description A number, or `<store>-<number>`; absent means live. */
                after?: string | null;
                agent?: string | null;
                /** @description With `event: rows`: what changed in the snapshot. */
                rows?: boolean;
            };
            header?: {
                "Last-Event-ID"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Server-sent events. */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    page_api_v1_events_page_get: {
        parameters: {
            query?: {
                after?: number | null;
                agent?: string | null;
                kind?: string | null;
                /** @description Most items of one page. */
                limit?: number;
                /** @description `next` of the page before. */
                next?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Events"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    show_api_v1_files_get: {
        parameters: {
            query: {
                /** @description As agents see it: `/agents/NAME/state/…`, `/agents/NAME/inbox/…` or `/shared/…`. */
                path: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FileView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    download_api_v1_files_download_get: {
        parameters: {
            query: {
                /** @description As agents see it: `/agents/NAME/state/…`, `/agents/NAME/inbox/…` or `/shared/…`. */
                path: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    show_api_v1_folders_get: {
        parameters: {
            query: {
                /** @description As agents see it: `/agents/NAME/state`, `/agents/NAME/inbox` or `/shared`, or below. */
                path: string;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["FolderView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    health_api_v1_health_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Health"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    operators_mail_api_v1_inbox_get: {
        parameters: {
            query?: {
                /** @description Most items of one page. */
                limit?: number;
                /** @description `next` of the page before. */
                next?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Messages"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    mark_read_api_v1_inbox_read_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Read"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Marked"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unread_api_v1_inbox_unread_get: {
        parameters: {
            query?: {
                /** @description Most items of one page. */
                limit?: number;
                /** @description Seconds to wait for an unread message of an agent. */
                wait?: number;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Messages"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    login_api_v1_login_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Token"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    make_link_api_v1_login_links_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: {
            content: {
                "application/json": components["schemas"]["NewLink"] | null;
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["LinkView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    switch_api_v1_login_links_switch_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Switch"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    finish_api_v1_login_oidc_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["OidcLoginBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    logged_out_api_v1_login_oidc_logout_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    start_api_v1_login_oidc_start_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Address"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    login_api_v1_login_passkey_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PasskeyLogin"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Landing"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    options_api_v1_login_passkey_options_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    recover_api_v1_login_recovery_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["RecoveryLogin"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Landing"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    ways_in_api_v1_login_ways_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["WaysIn"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    logout_api_v1_logout_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    me_api_v1_me_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Me"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    messages_api_v1_messages_get: {
        parameters: {
            query?: {
                agent?: string | null;
                /** @description Most items of one page. */
                limit?: number;
                /** @description `next` of the page before. */
                next?: number | null;
                state?: string | null;
                /** @description Only those whose body holds this, near the newest. */
                text?: string | null;
                thread?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Messages"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    send_api_v1_messages_post: {
        parameters: {
            query?: never;
            header?: {
                "Idempotency-Key"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewMessage"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SentView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    message_api_v1_messages__message__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                message: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessageView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    whole_body_api_v1_messages__message__body_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                message: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["BodyView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    retry_api_v1_messages__message__retry_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                message: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MessageView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    mine_api_v1_passkeys_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyList"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    add_api_v1_passkeys_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewPasskey"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    revoke_api_v1_passkeys__passkey__delete: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path: {
                passkey: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    rename_api_v1_passkeys__passkey__patch: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                passkey: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Label"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    begin_api_v1_passkeys_options_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    everybody_api_v1_people_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["People"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    add_api_v1_people_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewPerson"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    change_api_v1_people__name__patch: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["PersonChanges"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PersonView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    accounts_api_v1_people__name__identities_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Identities"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    link_api_v1_people__name__identities_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewIdentity"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["IdentityView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    unlink_api_v1_people__name__identities__identity__delete: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path: {
                identity: string;
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    theirs_api_v1_people__name__passkeys_get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                name: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["PasskeyList"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    end_api_v1_people__name__passkeys__passkey__delete: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path: {
                name: string;
                passkey: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    codes_api_v1_recovery_codes_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Codes"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    sessions_api_v1_sessions_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Sessions"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    end_api_v1_sessions__session__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                session: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    settings_api_v1_settings_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["SettingsView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    state_api_v1_state_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["StateView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    confirm_api_v1_step_up_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Confirmation"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    confirm_api_v1_step_up_provider_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AgainBody"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    again_api_v1_step_up_provider_start_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["AgainStart"];
            };
        };
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Address"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    stop_api_v1_stop_post: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            202: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: number;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    end_api_v1_terminals__terminal__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                terminal: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    type__api_v1_terminals__terminal__input_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                terminal: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Typed"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    size_api_v1_terminals__terminal__size_post: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                terminal: string;
            };
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["Size"];
            };
        };
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    output_api_v1_terminals__terminal__stream_get: {
        parameters: {
            query?: {
                after?: number;
            };
            header?: {
                "Last-Event-ID"?: string | null;
            };
            path: {
                terminal: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    every_token_api_v1_tokens_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["melipona__access__token_routes__Tokens"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    make_api_v1_tokens_post: {
        parameters: {
            query?: never;
            header?: {
                /** @description The confirmation, from POST /step-up. */
                "melipona-step-up"?: string | null;
            };
            path?: never;
            cookie?: never;
        };
        requestBody: {
            content: {
                "application/json": components["schemas"]["NewToken"];
            };
        };
        responses: {
            /** @description Successful Response */
            201: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["MadeToken"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    end_api_v1_tokens__token__delete: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                token: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            204: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    every_turn_api_v1_turns_get: {
        parameters: {
            query?: {
                /** @description Most items of one page. */
                limit?: number;
                /** @description `next` of the page before. */
                next?: number | null;
            };
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Turns"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    turn_api_v1_turns__turn__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                turn: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["TurnView"];
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    stream_api_v1_turns__turn__stream_get: {
        parameters: {
            query?: {
                /** @description The id of the last piece that was received. */
                after?: number;
                /** @description False: what there is by now. */
                follow?: boolean;
            };
            header?: {
                "Last-Event-ID"?: string | null;
            };
            path: {
                turn: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "text/event-stream": string;
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    why_api_v1_why__subject__get: {
        parameters: {
            query?: never;
            header?: never;
            path: {
                subject: string;
            };
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: unknown;
                    };
                };
            };
            /** @description A problem document. */
            default: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/problem+json": components["schemas"]["Problem"];
                };
            };
        };
    };
    healthz_healthz_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
        };
    };
    metrics_metrics_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content?: never;
            };
        };
    };
    readyz_readyz_get: {
        parameters: {
            query?: never;
            header?: never;
            path?: never;
            cookie?: never;
        };
        requestBody?: never;
        responses: {
            /** @description Successful Response */
            200: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": {
                        [key: string]: string;
                    };
                };
            };
            /** @description Service Unavailable */
            503: {
                headers: {
                    [name: string]: unknown;
                };
                content: {
                    "application/json": components["schemas"]["Problem"];
                };
            };
        };
    };
}

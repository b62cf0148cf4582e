//! The `#[config]` attribute of `notifyit-plugin-api`, which re-exports it.

use proc_macro::TokenStream;
use quote::quote;
use syn::{DeriveInput, parse_macro_input, parse_quote};

/// Makes a struct (or an enum: a part of one) a plugin's configuration.
///
/// It derives serde's `Deserialize`, so serde's own attributes work on it (`#[serde(default)]`, …). Keys that it
/// does not have are refused, at any depth, with one exception: where serde reads ahead (a struct with a
/// `#[serde(flatten)]` field, an enum with `#[serde(tag = "…")]` or `#[serde(untagged)]`) it lets unknown keys pass.
/// Write `#[serde(deny_unknown_fields)]` on such a type.
#[proc_macro_attribute]
pub fn config(arguments: TokenStream, item: TokenStream) -> TokenStream {
    if !arguments.is_empty() {
        let message = "`#[config]` takes no arguments; serde's attributes go on the fields";
        return syn::Error::new(proc_macro2::Span::call_site(), message).into_compile_error().into();
    }
    let item = parse_macro_input!(item as DeriveInput);
    let name = &item.ident;
    let mut generics = item.generics.clone();
    if !generics.params.is_empty() {
        let read = parse_quote!(Self: ::notifyit_plugin_api::serde::de::DeserializeOwned);
        generics.make_where_clause().predicates.push(read);
    }
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    quote! {
        #[derive(::notifyit_plugin_api::serde::Deserialize)]
        #[serde(crate = "::notifyit_plugin_api::serde")]
        #item

        impl #impl_generics ::notifyit_plugin_api::Config for #name #type_generics #where_clause {
            fn from_json(json: &str) -> ::notifyit_plugin_api::Result<Self> {
                ::notifyit_plugin_api::__private::read(json)
            }
        }
    }
    .into()
}
